"""The error that a bad event raises."""

from __future__ import annotations

__all__ = ["InvalidEventError"]


class InvalidEventError(ValueError):
    """The event can never be written to the Butler; the text is the reason."""
