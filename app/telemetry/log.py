"""Structured logs: one JSON object a line, or coloured text on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from app.settings import Settings

#: Each message of a library is logged at most once in this many seconds: while the brokers are
#: unreachable, the Kafka client alone writes about 50 lines a second.
REPEAT_SECONDS = 10.0

__all__ = ["logging_config"]

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class RepeatLimit(logging.Filter):
    """Passes each message of a library at most once in `REPEAT_SECONDS`."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a message; it is identified by the source line that logs it."""
        source_line = (record.pathname, record.lineno)
        if record.created - self._last.get(source_line, 0.0) < REPEAT_SECONDS:
            return False
        self._last[source_line] = record.created
        return True


def logging_config(settings: Settings) -> dict[str, Any]:
    """Configure structlog; return the matching logging configuration for Faust.

    All log lines, including those of libraries, use the same formatter and standard error.
    """
    _configure_structlog()
    level = settings.service.log_level
    libraries = max(level, logging.WARNING)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": _formatter()},
        "filters": {"repeat_limit": {"()": RepeatLimit}},
        "handlers": {"libraries": _handler("repeat_limit"), "stderr": _handler()},
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
