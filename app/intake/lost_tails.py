"""Finds fetched events that were lost although no later event of their partition has arrived.

A jump is found only when a later event of the same partition arrives, which may not happen on a
quiet topic (rule no-gaps-in-offsets).

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.intake.fetches import Partition

__all__ = ["LostTails"]


@dataclass(slots=True)
class _Look:
    """What the first look has found that saw a partition lack an event; and the looks since."""

    expected: int
    ends: Mapping[Partition, int]
    received: int
    looks: int = 1


class LostTails:
    """Decides from repeated looks whether the last events of a partition were lost.

    Events are handed over in the order in which they were fetched.  So an event is lost if an event
    that was fetched after it has arrived, or if no event at all has arrived between two looks.  A
    partition that merely waits for its turn, in a backlog, is not a loss.
    """

    def __init__(self) -> None:
        self._looks: dict[Partition, _Look] = {}
        self._required: dict[tuple[Partition, int], int] = {}

    def start_epoch(self) -> None:
        """Forget the looks: reading will start again."""
        self._looks.clear()

    def revoke(self) -> None:
        """Forget everything."""
        self._looks.clear()
        self._required.clear()

    def look(
        self, expected: Mapping[Partition, int], ends: Mapping[Partition, int], received: int
    ) -> bool:
        """Return whether events were lost.

        Call this at intervals that are longer than a fetch takes.  For each offset, the second look
        that finds the same state returns `True`, and each further `True` takes twice as many looks
        as the one before: an event may be lost again.

        Parameters
        ----------
        expected : `~collections.abc.Mapping`
            The offset of the next event of each partition.
        ends : `~collections.abc.Mapping`
            The offset up to which each of these partitions was fetched.
        received : `int`
            How many events have arrived so far, of all partitions.
        """
        lost = [self._is_lost(partition, expected, ends, received) for partition in expected]
        return any(lost)

    def _is_lost(
        self,
        partition: Partition,
        expected: Mapping[Partition, int],
        ends: Mapping[Partition, int],
        received: int,
    ) -> bool:
        offset = expected[partition]
        if offset >= ends[partition]:
            self._looks.pop(partition, None)
            return False
        look = self._looks.get(partition)
        if look is None or look.expected != offset:
            self._looks[partition] = _Look(offset, dict(ends), received)
            return False
        nothing_came = look.received == received
        later_came = any(
            reached > look.ends.get(other, reached) for other, reached in expected.items()
        )
        look.received = received
        look.looks += 1
        required = self._required.get((partition, offset), 2)
        if look.looks < required or not (nothing_came or later_came):
            return False
        self._required[partition, offset] = 2 * required
        return True
