"""Partitions whose log may have been replaced by another one with the same name.

The brokers do not tell one log from another.  But a log is replaced only while a broker restarts or
another one takes over, so the connection to the partition's leader changes.  From then on the
partition is suspect, until the last message that was read before is found in the log again (rule
no-gaps-in-offsets).

Pure: no I/O, no clock.  The consumer's thread adds to it, the main thread reads it.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple, Self

from app.intake.fetches import Partition

__all__ = ["ReadMessage", "Suspects"]


class ReadMessage(NamedTuple):
    """A message that was read; a message of another log at the same offset differs from it."""

    offset: int
    timestamp: int
    """Milliseconds since the Unix epoch."""
    digest: int
    """CRC-32 of its value."""

    @classmethod
    def of(cls, message: Any) -> Self:
        """Return what tells a message, ours or aiokafka's, from one of another log."""
        return cls(message.offset, message.timestamp, zlib.crc32(message.value or b""))


class Suspects:
    """The last message that was read of each partition, and of each suspect partition."""

    def __init__(self) -> None:
        self._connections: dict[Partition, object] = {}
        self._last: dict[Partition, ReadMessage] = {}
        self._suspects: dict[Partition, ReadMessage] = {}

    def connected(self, partition: Partition, connection: object) -> None:
        """Note the connection to a partition's leader, before a fetch over it is noted."""
        if self._connections.setdefault(partition, connection) is not connection:
            self._connections[partition] = connection
            if partition in self._last:
                self._suspects.setdefault(partition, self._last[partition])

    def read(self, partition: Partition, message: ReadMessage) -> None:
        """Note the last message of a fetch."""
        self._last[partition] = message

    def found(self) -> dict[Partition, ReadMessage]:
        """Return the last message that was read of each suspect partition, before it was one."""
        return dict(self._suspects)

    def clear(self, partition: Partition) -> None:
        """Note that a partition is no longer suspect."""
        self._suspects.pop(partition, None)

    def forget(self, partition: Partition) -> None:
        """Forget what was read of a partition: it starts anew."""
        self._last.pop(partition, None)
        self._suspects.pop(partition, None)
