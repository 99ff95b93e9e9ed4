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
from typing import Any, cast

import faust
from faust.types import AppT

from app.application import ButlerWriterApp
from app.errors import exiting_on_operator_errors
from app.kafka.checks.topics import check_topics

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
        # Not above: Faust imports this module while it configures the application, whose topics
        # cannot be made before that.
        from app.assembly import open_parts  # noqa: PLC0415

        own = cast("ButlerWriterApp", app)
        gc.set_threshold(*COLLECTOR_THRESHOLDS)
        # Faust sets both up later than our checks, which may wait for the brokers.
        dictConfig(dict(own.conf.logging_config or {}))
        signal(SIGTERM, lambda *_: sys.exit(0))
        with exiting_on_operator_errors():
            own.settings.require_connections()
            _run(check_topics(own.connection, own.settings.kafka))
            own.parts = open_parts(own)
        kwargs["loglevel"] = own.settings.service.log_level
        super().__init__(app, *services, **kwargs)


def _run(coroutine: Any) -> None:
    """Run a coroutine to its end without touching the loop that Faust will use."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(coroutine)
    finally:
        loop.close()
