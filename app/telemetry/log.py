"""Structured logs: one JSON object a line, or coloured text on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from app.settings import Settings

#: A library's message that repeats is logged at most once in so many seconds: while the brokers
#: are away, the Kafka client alone writes some 50 lines a second.
REPEAT_SECONDS = 10.0

__all__ = ["logging_config"]

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class OnceInAWhile(logging.Filter):
    """Lets the same message of a library through only every `REPEAT_SECONDS`."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to log a record; where it was logged from says which message it is."""
        place = (record.pathname, record.lineno)
        if record.created - self._last.get(place, 0.0) < REPEAT_SECONDS:
            return False
        self._last[place] = record.created
        return True


def logging_config(settings: Settings) -> dict[str, Any]:
    """Configure structlog, and return Faust's logging configuration to go with it.

    Every line, ours or a library's, goes through the same formatter to standard error.
    """
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
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [*_SHARED, structlog.stdlib.ExtraAdder()],
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    }
    level = settings.service.log_level
    libraries = max(level, logging.WARNING)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": formatter},
        "filters": {"once_in_a_while": {"()": OnceInAWhile}},
        "handlers": {
            "libraries": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "structured",
                "filters": ["once_in_a_while"],
            },
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "structured",
            },
        },
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
