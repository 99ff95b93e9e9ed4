"""Settings of the worker process."""

from __future__ import annotations

import ipaddress
import logging
import re
from functools import cached_property
from pathlib import Path

from pydantic import Field, field_validator

from app.butler.policy import Seconds
from app.settings.section import Section

__all__ = ["ServiceSettings"]

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")


class ServiceSettings(Section):
    """The worker process."""

    debug_level: str = Field("INFO", validation_alias="WRITER_DEBUG_LEVEL")
    """Python log level of the service's own lines; an unknown one means INFO, and a warning."""
    log_levels: str = ""
    """Levels of libraries, ``logger=LEVEL[,logger=LEVEL...]``; the others log warnings only."""
    data_directory: Path = Path("/tmp/butler-writer")  # noqa: S108 - a cache
    """Faust's own files; nothing in it is needed after a restart."""
    watchdog: bool = True
    """Exit with an error when the consumer is stuck, so that the pod is restarted."""

    step_warning_seconds: Seconds = 30.0
    """A step of a flush that runs for longer makes the worker not ready, and is logged."""
    step_max_seconds: Seconds = 300.0
    """A step of a flush that runs for longer ends the process, so that the pod is restarted."""
    starts_before_careful: int = Field(3, ge=1, le=1000)
    """Starts at one offset in vain after which events are tried one at a time."""
    start_wait_seconds: Seconds | None = None
    """Longest wait at the start for brokers, database and stores that are away; `None`: endless."""
    web_host: str | None = None
    """Name or address at which the other workers reach this one's pages; default: host name."""

    web_payloads: bool = True
    """Whether pages show the content of dead letters, which may be under embargo."""

    @field_validator("log_levels")
    @classmethod
    def _check_levels(cls, value: str) -> str:
        known = logging.getLevelNamesMapping()
        for part in value.split(",") if value else ():
            name, _, level = part.strip().partition("=")
            if not name or level.upper() not in known:
                raise ValueError(
                    f"not logger=LEVEL[,logger=LEVEL...]: {part.strip()!r}; "
                    "the levels are DEBUG, INFO, WARNING, ERROR and CRITICAL"
                )
        return value

    @field_validator("web_host")
    @classmethod
    def _check_host(cls, value: str | None) -> str | None:
        if value is None or _HOST.fullmatch(value):
            return value
        try:
            return f"[{ipaddress.IPv6Address(value.strip('[]'))}]"
        except ValueError as exc:
            raise ValueError("neither a host name nor an address") from exc

    @property
    def library_levels(self) -> dict[str, str]:
        """The level of each library that is named, by the name of its logger."""
        parts = (part.strip().partition("=") for part in self.log_levels.split(",") if part)
        return {name: level.upper() for name, _, level in parts}

    @cached_property
    def log_level(self) -> int:
        """The level as a number."""
        return logging.getLevelNamesMapping().get(self.debug_level.upper(), logging.INFO)
