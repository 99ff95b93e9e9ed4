"""What the consumer has fetched: at which offsets the log holds no message.

Offsets can be missing for two reasons.  The log may hold no message there (transaction markers,
aborted transactions, compaction), or Faust has dropped a message that was fetched.  Only the fetch
can tell the two apart: a gap is real if the fetch itself passed over it (rule no-gaps-in-offsets).

Pure: no I/O, no clock, no Faust.  The consumer's thread adds to it, the main thread reads it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Fetches", "Partition"]

Partition = tuple[str, int]
"""Topic and partition number."""


@dataclass(slots=True)
class _Run:
    """Fetches of one partition that follow one another.

    ``end`` is the offset that is fetched next; ``gaps`` are the ranges of offsets (the end is not
    part of a range) that the fetches passed over.
    """

    end: int
    gaps: deque[tuple[int, int]] = field(default_factory=deque)

    def pass_over(self, start: int, end: int) -> None:
        if self.gaps and self.gaps[-1][1] == start:
            start = self.gaps.pop()[0]
        self.gaps.append((start, end))


class Fetches:
    """What was fetched of each partition since its starting offset was set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[Partition, _Run] = {}
        self._resets: set[Partition] = set()

    def note(self, partition: Partition, start: int, offsets: Sequence[int], end: int) -> None:
        """Note a fetch.

        Parameters
        ----------
        partition : `tuple` [`str`, `int`]
            Topic and partition.
        start, end : `int`
            The consumer's position before and after the fetch.
        offsets : `~collections.abc.Sequence` [`int`]
            The offsets of the messages that were fetched, in order.
        """
        start = min([start, *offsets[:1]])
        with self._lock:
            run = self._runs.get(partition)
            if run is None or run.end != start:
                run = self._runs[partition] = _Run(start)
            for offset in offsets:
                if offset > run.end:
                    run.pass_over(run.end, offset)
                run.end = offset + 1
            if end > run.end:
                run.pass_over(run.end, end)
                run.end = end

    def note_reset(self, partition: Partition) -> None:
        """Note that the brokers no longer have the consumer's position in a partition."""
        with self._lock:
            self._resets.add(partition)

    @property
    def resets(self) -> frozenset[Partition]:
        """The partitions that were reset, and whose starting offset was not set since."""
        with self._lock:
            return frozenset(self._resets)

    def start_at(self, starts: Mapping[Partition, int], restarted: Collection[Partition]) -> None:
        """Forget what was fetched before partitions start to be read at an offset.

        Parameters
        ----------
        starts : `~collections.abc.Mapping`
            The starting offset of each partition.
        restarted : `~collections.abc.Collection`
            The partitions whose reset this start has taken into account.
        """
        with self._lock:
            self._runs.update({partition: _Run(start) for partition, start in starts.items()})
            self._resets.difference_update(restarted)

    def revoke(self) -> None:
        """Forget everything."""
        with self._lock:
            self._runs.clear()
            self._resets.clear()

    def next_offset(self, partition: Partition, offset: int) -> int:
        """Return the offset of the next message, as far as the fetches tell.

        This is the given offset, unless a gap begins there or contains it.
        """
        with self._lock:
            run = self._runs.get(partition)
            while run is not None and run.gaps and run.gaps[0][0] <= offset:
                end = run.gaps[0][1]
                if offset < end:
                    return end
                run.gaps.popleft()
            return offset

    def messages(self, partition: Partition, start: int, end: int) -> int:
        """Return how many messages a range of offsets has, as far as the fetches tell.

        What was not fetched yet counts as a message.

        Parameters
        ----------
        partition : `tuple` [`str`, `int`]
            Topic and partition.
        start, end : `int`
            The range; the end is not part of it.
        """
        with self._lock:
            run = self._runs.get(partition)
            gaps = () if run is None else run.gaps
            passed_over = sum(max(0, min(end, last) - max(start, first)) for first, last in gaps)
        return max(0, end - start - passed_over)

    def end(self, partition: Partition) -> int | None:
        """Return the offset that is fetched next, or `None` if nothing is known."""
        with self._lock:
            run = self._runs.get(partition)
            return None if run is None else run.end
