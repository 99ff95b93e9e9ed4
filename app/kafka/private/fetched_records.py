"""What a fetch returned for a partition, which is freed as soon as aiokafka drops it.

aiokafka drops what is left of a fetch at a seek, a pause and a rebalance.  Its own class is part of
a reference cycle: a fetch of 12 MiB, or a batch of 64 MiB that was decompressed, stayed until the
next full garbage collection.  A command that looks up one message after another held 3 GiB (rule
bounded-memory).
"""

from __future__ import annotations

from typing import Any, Self

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords

from app.kafka.private.undecodable import TolerantRecords

__all__ = ["FetchedRecords", "use_own_records"]


def use_own_records() -> None:
    """Let all consumers of this process read what aiokafka cannot decode, and free what is left."""
    fetcher.MemoryRecords = TolerantRecords
    fetcher.PartitionRecords = FetchedRecords


class FetchedRecords:
    """The messages of a fetch, with the attributes of aiokafka's `PartitionRecords` that are used.

    Parameters
    ----------
    *given, **named
        The parameters of aiokafka's `PartitionRecords`.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        self._own = PartitionRecords(*given, **named)
        # The iterator refers to its object: if that refers to nothing, there is no cycle.
        self._iterator, self._own._records_iterator = self._own._records_iterator, None

    @property
    def next_fetch_offset(self) -> int:
        """The offset after the last message that was returned."""
        return int(self._own.next_fetch_offset)

    @property
    def _records(self) -> TolerantRecords:
        return self._own._records  # type: ignore[no-any-return]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        """Return the next message, as aiokafka hands it over."""
        return next(self._iterator)
