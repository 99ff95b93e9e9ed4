"""A dead letter: an event that can never be written, whole, with the reason in its headers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import faust
import orjson

from models.causes import Cause

__all__ = ["POINTS", "DeadLetter", "is_pointer", "replay_headers", "replays_of"]

_POINTER = "dead-letter-pointer"
_REPLAYS = "replays"

#: Header that tells whether a letter has a pointer in place of the event.  Letters of earlier
#: versions lack it: there, an event that looks like a pointer, and has guessed its own offset, is
#: taken for one.
POINTS = "points"

#: A pointer has less than this many bytes.
_LARGEST_POINTER = 4096

#: Longest reason in a header, in characters: a letter must stay within its topic's limit.
MAX_REASON = 2000


class DeadLetter(faust.Record, serializer="json", include_metadata=False):
    """Why an event was set aside, and its position in the input topic.

    Attributes
    ----------
    topic, partition, offset : `str`, `int`, `int`
        Position of the event that was set aside.
    error_class : `str`
        The value of a `Cause`; letters of earlier versions have the name of a Python class.
    reason : `str`
        What is wrong, in one line.
    time : `str`
        When it was set aside, ISO 8601, UTC.
    replays : `int`
        How often the event had been replayed before.
    """

    topic: str
    partition: int
    offset: int
    error_class: str
    reason: str
    time: str
    replays: int = 0

    @classmethod
    def of(
        cls,
        partition: tuple[str, int],
        offset: int,
        cause: Cause,
        reason: str,
        replays: int = 0,
    ) -> DeadLetter:
        """Return the letter of an event that is being set aside now.

        Parameters
        ----------
        partition : `tuple` [`str`, `int`]
            Topic and partition number of the event.
        offset : `int`
            Its offset.
        cause : `Cause`
            Why it can never be written.
        reason : `str`
            What is wrong; it is put into one line of bounded length.
        replays : `int`
            How often the event had been replayed before.
        """
        return cls(
            topic=partition[0],
            partition=partition[1],
            offset=offset,
            error_class=cause.value,
            reason=" ".join(reason.split())[:MAX_REASON],
            time=datetime.now(UTC).isoformat(),
            replays=replays,
        )

    def headers(self) -> dict[str, bytes]:
        """Return the message's headers."""
        return {name: str(value).encode() for name, value in self.asdict().items()}

    @classmethod
    def from_headers(cls, headers: dict[str, bytes]) -> DeadLetter:
        """Return the letter that a message's headers describe."""
        text = {name: value.decode() for name, value in headers.items()}
        return cls(
            topic=text["topic"],
            partition=_number(text["partition"]),
            offset=_number(text["offset"]),
            error_class=text["error_class"],
            reason=text["reason"],
            time=text["time"],
            replays=_number(text.get("replays", "0")),
        )

    def pointer(self, value: bytes) -> bytes:
        """Return the message that replaces an event too large for the dead-letter topic.

        The event itself stays in the input topic until retention removes it.
        """
        return orjson.dumps(
            {
                "type": _POINTER,
                "topic": self.topic,
                "partition": self.partition,
                "offset": self.offset,
                "bytes": len(value),
                "sha256": hashlib.sha256(value).hexdigest(),
            }
        )

    def pointer_in(self, value: bytes | None) -> Mapping[str, Any] | None:
        """Return the pointer that is in place of the event; `None` if the letter has the event.

        Parameters
        ----------
        value : `bytes` or `None`
            The value of the letter's message.
        """
        # An event is not decoded for this: it may be a harmful one.
        if value is None or len(value) > _LARGEST_POINTER or _POINTER.encode() not in value:
            return None
        try:
            decoded = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
        # An event may look like a pointer, but cannot know its own offset.
        origin = {name: getattr(self, name) for name in ("topic", "partition", "offset")}
        is_pointer = (
            isinstance(decoded, dict)
            and decoded.get("type") == _POINTER
            and origin.items() <= decoded.items()
            and "sha256" in decoded
        )
        return decoded if is_pointer else None


def _number(text: str) -> int:
    """Return a number of a header; programs that read JSON know none that is larger."""
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError(f"{text[:30]} is no number of a letter")
    return number


def is_pointer(headers: Mapping[str, bytes]) -> bool | None:
    """Return whether a letter has a pointer, by its headers; `None` if they do not tell."""
    return {b"true": True, b"false": False}.get(headers.get(POINTS, b""))


def replay_headers(replays: int) -> dict[str, bytes]:
    """Return the headers of an event that is replayed for the given time, from 1."""
    return {_REPLAYS: str(replays).encode()}


def replays_of(headers: Mapping[str, bytes]) -> int:
    """Return how often an event has been replayed, by the headers of its message.

    Never raises, because anybody may send headers.
    """
    count = (headers.get(_REPLAYS) or b"")[:9]
    return int(count) if count.isdigit() else 0
