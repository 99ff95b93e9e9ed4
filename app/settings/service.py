"""Settings of the worker process."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path

from pydantic import Field, PositiveFloat

from app.settings.section import Section

__all__ = ["ServiceSettings"]


class ServiceSettings(Section):
    """The worker process."""

    debug_level: str = Field("INFO", validation_alias="WRITER_DEBUG_LEVEL")
    """Python log level; an unknown one means INFO."""
    data_directory: Path = Path("/tmp/butler-writer")  # noqa: S108 - a cache
    """Faust's own files; nothing in it is needed after a restart."""
    watchdog: bool = True
    """Exit with an error when the consumer is stuck, so that the pod is restarted."""

    step_warning_seconds: PositiveFloat = 30.0
    """A step of a flush that runs for longer makes the worker not ready, and is logged."""
    step_max_seconds: PositiveFloat = 300.0
    """A step of a flush that runs for longer ends the process, so that the pod is restarted."""

    @cached_property
    def log_level(self) -> int:
        """The level as a number."""
        return logging.getLevelNamesMapping().get(self.debug_level.upper(), logging.INFO)
