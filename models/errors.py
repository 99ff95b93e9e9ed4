"""The errors that a bad event raises."""

from __future__ import annotations

from models.causes import Cause

__all__ = [
    "CausedError",
    "InvalidEventError",
    "NotAllowedError",
    "OverLimitError",
    "RemovedMessageError",
]


class InvalidEventError(ValueError):
    """The event can never be written to the Butler; the text is the reason."""


class CausedError(InvalidEventError):
    """The event can never be written, for a cause that the caller knows.

    Attributes
    ----------
    cause : `Cause`
        The cause of its dead letter.
    """

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


class NotAllowedError(CausedError):
    """The event names what an event may not name."""


class OverLimitError(InvalidEventError):
    """The event has more of something than this service accepts; the text names the limit."""


class RemovedMessageError(InvalidEventError):
    """The product log no longer has a message whose datasets are due."""
