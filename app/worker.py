"""The worker that ``faust -A app worker`` starts; it first checks what it depends on.

A worker that cannot do its work reports the error in one line and exits before it joins the
consumer group, so it takes no partitions from other workers.  What is only away is waited for.
"""

from __future__ import annotations

import os
import platform
import sys
from signal import SIGTERM, signal
from typing import Any, cast

import faust
import structlog
from faust.types import AppT
from prometheus_client import disable_created_metrics

from app.application import ButlerWriterApp
from app.errors import exiting_on_operator_errors
from app.kafka.faust_private import silence_banner
from app.machine import (
    check_data_directory,
    check_port,
    memory_limit,
    share_one_arena,
    show_crashes,
)
from app.settings import doubtful_variables
from app.telemetry import metrics
from app.telemetry.build_info import show_build

__all__ = ["Worker"]

logger = structlog.get_logger("butler_writer")


class Worker(faust.Worker):
    """A worker of the Butler writer.

    Raises
    ------
    SystemExit
        If a setting is missing or wrong.  Once the pages are up, `~app.startup.Startup` checks the
        rest.
    """

    def __init__(self, app: AppT, *services: Any, **kwargs: Any) -> None:
        # Imported here, because Faust imports this module while it configures the application, and
        # the topics can only be created after that.
        from app.assembly import dependencies  # noqa: PLC0415

        own = cast("ButlerWriterApp", app)
        show_crashes()
        silence_banner()
        share_one_arena()
        # Faust does this only after our checks.
        signal(SIGTERM, lambda *_: sys.exit(0))
        logger.info(
            "starting",
            faust=faust.__version__,
            python=platform.python_version(),
            group=own.settings.kafka.group,
            pid=os.getpid(),
            pages=str(own.conf.canonical_url),
        )
        # The series ``*_created`` would double the number of series, and nothing reads them.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        show_build()
        metrics.MEMORY_LIMIT_BYTES.set(memory_limit())
        for reason in doubtful_variables(os.environ, own.settings):
            logger.warning("a variable has no effect", reason=reason)
        if own.settings.kafka.password is not None and not own.settings.kafka.tls:
            logger.warning(
                "the connection to Kafka has a login, but is not encrypted",
                remedy="set BUTLER_WRITER_KAFKA_TLS=true and a KAFKA_CLUSTER with such a port",
            )
        with exiting_on_operator_errors():
            own.settings.require_connections()
            check_port(own.conf.web_bind, own.conf.web_port)
            check_data_directory(own.conf.datadir)
            own.startup.stages = dependencies(own)
        kwargs["loglevel"] = own.settings.service.log_level
        super().__init__(app, *services, **kwargs)
        self.spinner = None  # it prints "OK", which is no JSON line

    def say(self, msg: str) -> None:
        """Print nothing: all output is log lines."""

    def carp(self, msg: str) -> None:
        """Print nothing: all output is log lines."""
