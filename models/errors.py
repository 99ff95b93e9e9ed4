"""The errors that a bad event raises."""

from __future__ import annotations

__all__ = ["InvalidEventError", "OverLimitError"]


class InvalidEventError(ValueError):
    """The event can never be written to the Butler; the text is the reason."""


class OverLimitError(InvalidEventError):
    """The event has more of something than this service accepts; the text names the limit."""
