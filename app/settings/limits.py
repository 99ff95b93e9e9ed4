"""Settings of the limits on an event."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from app.butler.events.limits import EventLimits
from app.settings.section import Section

__all__ = ["LimitSettings"]


class LimitSettings(Section, EventLimits):
    """How much an event may have."""

    model_config = SettingsConfigDict()  # mypy takes that of the two bases for a conflict
