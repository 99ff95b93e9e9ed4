"""The errors that a bad event raises."""

from __future__ import annotations

__all__ = ["InvalidEventError", "RemovedMessageError"]


class InvalidEventError(ValueError):
    """The event can never be written to the Butler; the text is the reason."""


class RemovedMessageError(InvalidEventError):
    """The product log no longer has a message whose datasets are due."""
