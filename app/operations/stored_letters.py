"""A dead letter as it is stored in the dead-letter topic."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from app.butler.descriptions import describe_with_type
from app.kafka.readers import Message, MessageId
from models.causes import Cause
from models.dead_letter import DeadLetter, is_pointer

__all__ = ["StoredLetter", "digest_of", "stored_letter"]

logger = structlog.get_logger("butler_writer")


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter as it is stored in the dead-letter topic.

    Attributes
    ----------
    id : `MessageId`
        Partition and offset in the dead-letter topic; commands use its text as the letter's name.
    letter : `DeadLetter`
        Why the event was set aside, and its topic, partition and offset in the input.
    key, value : `bytes` or `None`
        The whole event; or, if it was too large for the topic, a pointer to it.
    points : `bool` or `None`
        Whether it is a pointer; `None` for a letter of an earlier version, which does not tell.
    """

    id: MessageId
    letter: DeadLetter
    key: bytes | None
    value: bytes | None
    points: bool | None = None

    @property
    def pointer(self) -> Mapping[str, Any] | None:
        """The pointer that replaces a too large event; `None` if the letter has the event."""
        return None if self.points is False else self.letter.pointer_in(self.value)

    @property
    def digest(self) -> str:
        """SHA-256 of the event."""
        if (pointer := self.pointer) is not None:
            return str(pointer["sha256"])
        return digest_of(self.value)

    @property
    def is_harmful(self) -> bool:
        """Whether its event is never decoded here: it has ended a worker, or was skipped."""
        cause = Cause.named(self.letter.error_class)
        return cause is not None and cause.is_harmful

    def has_error_class(self, name: str) -> bool:
        """Return whether the event was set aside for a cause.

        Parameters
        ----------
        name : `str`
            Value of a `~models.causes.Cause`, one of its former names (Python classes), or the
            exact text of the header ``error_class``.
        """
        current = self.letter.error_class
        if name == current:
            return True
        cause = Cause.named(name)
        return cause is not None and cause is Cause.named(current)


def digest_of(value: bytes | None) -> str:
    """Return the SHA-256 of an event, by which letters and copies of it are known.

    Parameters
    ----------
    value : `bytes` or `None`
        The event.
    """
    return hashlib.sha256(value or b"").hexdigest()


def stored_letter(message: Message) -> StoredLetter | None:
    """Return the letter that a message is, or `None` if it is something else."""
    try:
        letter = DeadLetter.from_headers(message.headers)
    except (KeyError, ValueError, AttributeError) as exc:
        logger.warning(
            "message skipped: not a dead letter of this service",
            partition=message.partition,
            offset=message.offset,
            error=describe_with_type(exc),
        )
        return None
    message_id = MessageId(message.partition, message.offset)
    points = is_pointer(message.headers)
    return StoredLetter(message_id, letter, message.key, message.value, points)
