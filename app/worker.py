"""What ``faust -A app worker`` starts: a Faust worker that first checks what it needs.

A worker that cannot do its work says so in one line and exits, before it joins the consumer group
and takes partitions from workers that can.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from logging.config import dictConfig
from signal import SIGTERM, signal
from typing import TYPE_CHECKING, Any, cast

import faust
from faust.types import AppT

from app.butler.repository.chains import ChainKeeper
from app.butler.repository.connection import open_butler
from app.butler.writer import ButlerWriter
from app.errors import OperatorError
from app.kafka.checks.topics import check_topics
from app.kafka.connection import KafkaConnection

if TYPE_CHECKING:
    from app.application import ButlerWriterApp

__all__ = ["COLLECTOR_THRESHOLDS", "Worker"]

#: How many objects there may be more before Python looks for cyclic garbage.  A window is half a
#: million objects that are in no cycle: with Python's own 700, looking took a third of our time
#: (our measurement, 189 events of 100 datasets: 1.4 s instead of 0.9 s of CPU).
COLLECTOR_THRESHOLDS = (50_000, 10, 10)


class Worker(faust.Worker):
    """A worker of the Butler writer.

    Raises
    ------
    SystemExit
        If a setting, a topic or the Butler repository is not as it must be.
    """

    def __init__(self, app: AppT, *services: Any, **kwargs: Any) -> None:
        service = cast("ButlerWriterApp", app)
        gc.set_threshold(*COLLECTOR_THRESHOLDS)
        # Faust sets both up later than our checks, which may wait for the brokers.
        dictConfig(dict(service.conf.logging_config or {}))
        signal(SIGTERM, lambda *_: sys.exit(0))
        try:
            service.settings.require_connections()
            kafka = service.settings.kafka
            _run(check_topics(KafkaConnection.of(kafka), kafka))
            open_repository(service)
        except OperatorError as exc:
            sys.exit(f"butler-writer: {exc}")
        kwargs["loglevel"] = service.settings.service.log_level
        super().__init__(app, *services, **kwargs)


def open_repository(service: ButlerWriterApp) -> None:
    """Open the Butler, and make what writes to it."""
    write = service.settings.write
    assert write.repository is not None  # noqa: S101 - require_connections has run
    butler = open_butler(write.repository, write.policy)
    service.writer = ButlerWriter(butler, write.policy)
    service.chain_keeper = ChainKeeper(butler.clone())


def _run(coroutine: Any) -> None:
    """Run a coroutine to its end without touching the loop that Faust will use."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(coroutine)
    finally:
        loop.close()
