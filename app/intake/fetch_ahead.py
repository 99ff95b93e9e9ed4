"""What was fetched and has not arrived yet: it is bounded over all partitions together.

aiokafka fetches the next messages of every partition while the earlier ones are being used, so its
memory grows with the number of partitions (rule bounded-memory).

Pure: no I/O, no clock, no Faust.  The consumer's thread adds to it, the main thread reads it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from app.intake.fetches import Partition

__all__ = ["FetchAhead"]


class FetchAhead:
    """The bytes of the messages that were fetched and have not arrived at the intake.

    Parameters
    ----------
    limit : `int`
        Nothing more is fetched while this many bytes have not arrived.

    Attributes
    ----------
    buffered : `int`
        Bytes that the consumer holds and Faust has not taken over.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffered = 0
        self._lock = threading.Lock()
        self._on_their_way: dict[Partition, dict[int, int]] = {}
        self._bytes_on_their_way = 0

    @property
    def bytes(self) -> int:
        """Bytes of everything that was fetched and has not arrived."""
        return self.buffered + self._bytes_on_their_way

    @property
    def may_fetch(self) -> bool:
        """Whether more may be fetched."""
        return self.bytes < self.limit

    @property
    def may_hand_over(self) -> bool:
        """Whether Faust may take over more of what was fetched."""
        return self._bytes_on_their_way < self.limit

    def hand_over(self, partition: Partition, sizes: Mapping[int, int]) -> None:
        """Note that Faust takes over messages.

        Parameters
        ----------
        partition : `tuple` [`str`, `int`]
            Topic and partition.
        sizes : `~collections.abc.Mapping` [`int`, `int`]
            The size of each message in bytes, by its offset.
        """
        with self._lock:
            sizes_before = self._on_their_way.setdefault(partition, {})
            for offset, size in sizes.items():
                self._bytes_on_their_way += size - sizes_before.get(offset, 0)
                sizes_before[offset] = size

    def arrived(self, partition: Partition, offset: int) -> None:
        """Note that a message has arrived."""
        with self._lock:
            sizes = self._on_their_way.get(partition, {})
            self._bytes_on_their_way -= sizes.pop(offset, 0)

    def forget(self) -> None:
        """Forget everything that Faust has taken over, since reading starts anew."""
        with self._lock:
            self._on_their_way.clear()
            self._bytes_on_their_way = 0
