"""Structured logs: one JSON object a line, or coloured text on a terminal."""

from __future__ import annotations

import json
import logging
import math
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from logging.config import dictConfig
from types import TracebackType
from typing import Any, TextIO

import structlog

from app.butler.descriptions import describe_with_type
from app.installation import own_version
from app.printable import printable, without_logins
from app.settings import Settings

logger = structlog.get_logger("butler_writer")

#: Each message of a library is logged at most once in this many seconds: while the brokers are
#: unreachable, the Kafka client alone writes about 50 lines a second.
REPEAT_SECONDS = 10.0

#: Values that are nested more deeply than this are logged as text.
MAX_DEPTH = 8

#: Longest text of a value, in characters, and longest number, in bits.
MAX_TEXT = 20_000
MAX_BITS = 1024

__all__ = ["logging_config", "start_logging", "to_json"]

#: What every line says: the service's version, and which worker writes it.
_WHO = {"version": own_version(), "worker": socket.gethostname()}


def _bind_who(_logger: Any, _name: str, line: structlog.typing.EventDict) -> Any:
    for name, value in _WHO.items():
        line.setdefault(name, value)
    return line


_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    _bind_who,
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


def to_json(line: object, **_: Any) -> str:
    """Return a log line as JSON, whatever its values are: no log call may fail.

    What JSON cannot express becomes text: values of other types, numbers that are not finite or
    very long, and keys that are not strings.
    """
    return json.dumps(_plain(line, MAX_DEPTH))


def _plain_values(_logger: Any, _name: str, line: structlog.typing.EventDict) -> Any:
    """Make text of what cannot be printed, before coloured text is made of it."""
    return _printable(_plain(line, MAX_DEPTH))


def _printable(value: Any) -> Any:
    """Return a plain value whose text a terminal does not obey; tracebacks have several lines."""
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return printable(value, keep="\n\t") if isinstance(value, str) else value


def _plain(value: object, depth: int) -> Any:
    """Return a value that can be expressed in JSON; a value's own code may raise anything."""
    if value is None or isinstance(value, bool):
        return value
    try:
        return _plain_of_type(value, depth)
    except Exception as exc:  # noqa: BLE001 - see above
        return f"<{type(value).__name__} without text: {type(exc).__name__}>"


def _plain_of_type(value: object, depth: int) -> Any:
    if isinstance(value, int) and value.bit_length() <= MAX_BITS:
        return int(value)
    if isinstance(value, int):
        return f"<{type(value).__name__} of {value.bit_length()} bits>"
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if depth > 0 and isinstance(value, Mapping):
        return {_text(_plain(key, 0)): _plain(item, depth - 1) for key, item in value.items()}
    if depth > 0 and isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth - 1) for item in value]
    return _text(value)


def _text(value: object) -> str:
    text = without_logins(str.__str__(value) if isinstance(value, str) else str(value))
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}... ({len(text)} characters)"
    return text.encode(errors="backslashreplace").decode()  # half a character of UTF-16


class Handler(logging.StreamHandler[TextIO]):
    """Writes log lines; a call that cannot be formatted becomes a line that says so.

    `logging` would print a traceback of thirty lines, which is no JSON.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Write which call has failed, and why."""
        line = {
            "event": "a log line cannot be written",
            "level": "error",
            "logger": record.name,
            "source_line": f"{record.pathname}:{record.lineno}",
            "error": describe_with_type(sys.exc_info()[1] or RuntimeError()),
        }
        with suppress(OSError, ValueError):  # the stream is closed, or the disk is full
            self.stream.write(to_json(line) + self.terminator)
            self.flush()


def start_logging(settings: Settings) -> None:
    """Configure logging; log warnings and uncaught exceptions too, which Python would print."""
    dictConfig(logging_config(settings))
    logging.captureWarnings(True)
    sys.excepthook = _log_crash
    threading.excepthook = _log_end_of_thread


def _log_crash(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        logger.critical("crashed", exc_info=(kind, error, traceback))


def _log_end_of_thread(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_type is not SystemExit:
        name = crash.thread.name if crash.thread is not None else None
        exception = (crash.exc_type, crash.exc_value, crash.exc_traceback)
        logger.error("an exception ended a thread", thread=name, exc_info=exception)


def logging_config(settings: Settings) -> dict[str, Any]:
    """Configure structlog; return the matching logging configuration for Faust.

    All log lines, including those of libraries, use the same formatter and standard error.
    Libraries log warnings only, whatever the service's own level is, unless they are named.
    """
    _configure_structlog()
    level = settings.service.log_level
    libraries = max(level, logging.WARNING)
    named = settings.service.library_levels
    is_debugging_kafka = settings.kafka.debug == "1"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": _formatter()},
        "filters": {"repeat_limit": {"()": RepeatLimit}},
        "handlers": {"libraries": _handler("repeat_limit"), "stderr": _handler()},
        "root": {"handlers": ["stderr"], "level": libraries},
        "loggers": {
            "butler_writer": {"level": level},
            "timer.lsst.queued_butler_writer": {"level": level},
            # A starting worker says itself, once, that the Butler cannot be created yet.
            "lsst.daf.butler.direct_butler": {"level": "CRITICAL"},
            **{name: {"level": level} for name, level in named.items()},
            "aiokafka": {
                "level": "DEBUG" if is_debugging_kafka else named.get("aiokafka", libraries),
                "handlers": ["stderr" if is_debugging_kafka else "libraries"],
                "propagate": False,
            },
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
    renderers: list[structlog.typing.Processor] = (
        [_plain_values, structlog.dev.ConsoleRenderer()]
        if sys.stderr.isatty()
        else [structlog.processors.JSONRenderer(serializer=to_json)]
    )
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [*_SHARED, structlog.stdlib.ExtraAdder()],
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            *renderers,
        ],
    }


def _handler(*filters: str) -> dict[str, Any]:
    return {
        "()": Handler,
        "stream": "ext://sys.stderr",
        "formatter": "structured",
        "filters": list(filters),
    }
