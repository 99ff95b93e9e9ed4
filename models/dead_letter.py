"""A dead letter: an event that can never be written, whole, with the reason in its headers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import faust
import orjson

from models.causes import Cause

__all__ = ["DeadLetter", "replays_of"]

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
        """Return the letter of an event that is being set aside now."""
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
            partition=int(text["partition"]),
            offset=int(text["offset"]),
            error_class=text["error_class"],
            reason=text["reason"],
            time=text["time"],
            replays=int(text.get("replays", "0")),
        )

    def pointer(self, value: bytes) -> bytes:
        """Return the message that replaces an event too large for the dead-letter topic.

        The event itself stays in the input topic until retention removes it.
        """
        return orjson.dumps(
            {
                "type": "dead-letter-pointer",
                "topic": self.topic,
                "partition": self.partition,
                "offset": self.offset,
                "bytes": len(value),
                "sha256": hashlib.sha256(value).hexdigest(),
            }
        )


def replays_of(headers: Mapping[str, bytes]) -> int:
    """Return how often an event has been replayed, by the headers of its message.

    Never raises, because anybody may send headers.
    """
    count = (headers.get("replays") or b"")[:9]
    return int(count) if count.isdigit() else 0
