"""Structured logs: one JSON object a line, or coloured text on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from app.settings import Settings

#: Seconds in which the same message of a library is logged at most once: while the brokers are
#: unreachable, the Kafka client alone writes about 50 lines a second.
REPEAT_SECONDS = 10.0

__all__ = ["logging_config"]

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class OnceInAWhile(logging.Filter):
    """Lets the same message of a library through once every `REPEAT_SECONDS`."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record; messages are told apart by their place in the source."""
        place = (record.pathname, record.lineno)
        if record.created - self._last.get(place, 0.0) < REPEAT_SECONDS:
            return False
        self._last[place] = record.created
        return True


def logging_config(settings: Settings) -> dict[str, Any]:
    """Configure structlog; return the matching logging configuration for Faust.

    All lines, also those of libraries, go through the same formatter to standard error.
    """
    _configure_structlog()
    level = settings.service.log_level
    libraries = max(level, logging.WARNING)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": _formatter()},
        "filters": {"once_in_a_while": {"()": OnceInAWhile}},
        "handlers": {"libraries": _handler("once_in_a_while"), "stderr": _handler()},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "aiokafka": {
                "level": "DEBUG" if settings.kafka.debug == "1" else libraries,
                "handlers": ["stderr" if settings.kafka.debug == "1" else "libraries"],
                "propagate": False,
            },
            "aiohttp.access": {"level": libraries},
            "botocore": {"level": libraries},
            "faust": {"level": libraries},
            "mode": {"level": libraries},
        },
    }


def _configure_structlog() -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _formatter() -> dict[str, Any]:
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [*_SHARED, structlog.stdlib.ExtraAdder()],
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    }


def _handler(*filters: str) -> dict[str, Any]:
    return {
        "class": "logging.StreamHandler",
        "stream": "ext://sys.stderr",
        "formatter": "structured",
        "filters": list(filters),
    }
