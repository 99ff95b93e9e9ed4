"""Why a message is not an event."""

from __future__ import annotations

__all__ = ["InvalidEventError"]


class InvalidEventError(ValueError):
    """A message that can never become a Butler write; the text is the reason."""
