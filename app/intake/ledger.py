"""The offset ledger: events are acked strictly in offset order per partition.

Faust 0.15 commits past a single unacked event (measured: offset 10 unacked, 11-19 acked, 20
committed), so an event may be acked only when all events before it are (rule
acked-in-offset-order).  The ledger also checks that no fetched event is missing (rule
no-gaps-in-offsets): after a rebalance Faust can clear queues that hold fetched events (measured: 1
event in 25 restarts), and an offset that no agent has received must not be committed.

Pure: no I/O, no clock, no Faust.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from app.intake.entries import Entry, Receipt
from app.intake.fetches import Fetches, Partition
from app.intake.lost_tails import LostTails

__all__ = ["Entry", "Ledger", "Partition", "Receipt"]


@dataclass(slots=True)
class _Progress:
    """Progress in one partition: starting offset, next expected offset, entries not yet acked.

    And the end of the last gap that was passed over, until `Ledger.pass_over_gaps` returns it.
    """

    start: int
    expected: int
    held: deque[Entry] = field(default_factory=deque)
    gap_end: int | None = None

    @property
    def acked_to(self) -> int:
        return self.held[0].offset if self.held else self.expected


class Ledger:
    """Entries of every assigned partition, in offset order.

    An *epoch* is the time between two revocations.  Entries of an earlier epoch are dropped: their
    events will be redelivered, to this worker or to another, and acking them would commit past
    events that are not written.

    Attributes
    ----------
    epoch : `int`
        The current epoch.
    bytes_held : `int`
        Size of all events that are not settled.
    accepted_gaps : `int`
        How many gaps of the log were passed over.
    fetches : `Fetches`
        What was fetched; it tells a gap of the log from events that were lost on their way.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.bytes_held = 0
        self.accepted_gaps = 0
        self.fetches = Fetches()
        self._progress: dict[Partition, _Progress] = {}
        self._received = 0
        self._gaps_counted_to: dict[Partition, int] = {}
        self._tails = LostTails()

    def revoke(self) -> None:
        """Start a new epoch: drop every entry and every starting offset."""
        self.fetches.revoke()
        self._tails.revoke()
        self._start_epoch()

    def _start_epoch(self) -> None:
        self.epoch += 1
        self.bytes_held = 0
        self._progress.clear()
        self._tails.start_epoch()

    def start_at(
        self, starts: Mapping[Partition, int], restarted: Collection[Partition] = ()
    ) -> None:
        """Set the offset at which each assigned partition starts to be read in this epoch.

        Parameters
        ----------
        starts : `~collections.abc.Mapping`
            The starting offset of each partition.
        restarted : `~collections.abc.Collection`
            The partitions whose log was reset, and which start anew.
        """
        self.fetches.start_at(starts, restarted)
        for partition, offset in starts.items():
            self._progress[partition] = _Progress(offset, offset)
        for partition in restarted:
            self._gaps_counted_to.pop(partition, None)

    def drop_reset(self) -> frozenset[Partition]:
        """Start a new epoch if partitions that are being read were reset; return these."""
        resets = self.fetches.resets & self._progress.keys()
        if resets:
            self._start_epoch()
        return resets

    def receive(
        self,
        partition: Partition,
        offset: int,
        size: int,
        ack: Callable[[], object],
        *,
        sent_at: float = 0.0,
        now: float = 0.0,
    ) -> tuple[Receipt, Entry | None]:
        """Enter an event as soon as it is received.

        A jump forward is accepted and counted if the fetch passed over the same offsets: the log
        holds no message there.  Otherwise fetched events are missing, and a new epoch starts: no
        later event may be taken before the partitions are read again from their committed offsets.

        Parameters
        ----------
        partition : `tuple` [`str`, `int`]
            Topic and partition number.
        offset : `int`
            The offset of the event.
        size : `int`
            Its size in bytes.
        ack : `~collections.abc.Callable`
            Called when the offset may be committed.
        sent_at : `float`
            The message's timestamp, in seconds since the Unix epoch.
        now : `float`
            In seconds of the monotonic clock.

        Returns
        -------
        receipt : `Receipt`
            What the ledger decides about the event.
        entry : `Entry` or `None`
            `None` unless the receipt is ``EXPECTED``.
        """
        self._received += 1
        progress = self._progress.get(partition)
        if progress is None or partition in self.fetches.resets:
            return Receipt.NOT_STARTED, None
        if offset < progress.expected:
            return Receipt.REPEATED, None
        if offset > progress.expected:
            if self.fetches.next_offset(partition, progress.expected) != offset:
                self._start_epoch()
                return Receipt.JUMPED, None
            self._count_gap(partition, progress.expected, offset)
            progress.gap_end = offset
        entry = Entry(partition, offset, size, self.epoch, ack, sent_at, now)
        progress.held.append(entry)
        progress.expected = offset + 1
        self.bytes_held += size
        return Receipt.EXPECTED, entry

    def read_again(
        self, partition: Partition, offset: int, size: int, *, sent_at: float, now: float
    ) -> Entry | None:
        """Enter an event that was acked before: its bytes are held, its offset plays no part.

        Returns
        -------
        entry : `Entry` or `None`
            `None` if the partition is not being read.
        """
        if partition not in self._progress:
            return None
        self.bytes_held += size
        return Entry(
            partition, offset, size, self.epoch, lambda: None, sent_at, now, is_read_again=True
        )

    def pass_over_gaps(self) -> dict[Partition, int]:
        """Pass over the gaps at which partitions wait with all their events acked.

        Returns
        -------
        acked_to : `dict`
            For each partition that has passed a gap, the offset below which everything is acked.
            Faust may not commit it: it does not notice a gap behind offset 0, for example.
        """
        acked_to = {}
        for partition in self._progress.keys() - self.fetches.resets:
            progress = self._progress[partition]
            after = self.fetches.next_offset(partition, progress.expected)
            if not progress.held and after > progress.expected:
                self._count_gap(partition, progress.expected, after)
                progress.gap_end = progress.expected = after
            if progress.gap_end is not None and progress.acked_to >= progress.gap_end:
                acked_to[partition] = progress.acked_to
                progress.gap_end = None
        return acked_to

    def _count_gap(self, partition: Partition, start: int, end: int) -> None:
        counted_to = self._gaps_counted_to.get(partition, -1)
        if end > counted_to:
            self.accepted_gaps += start != counted_to  # otherwise it is more of the same gap
            self._gaps_counted_to[partition] = end

    def misses_tail(self) -> bool:
        """Return whether fetched events were lost (see `LostTails.look`); if so, start an epoch."""
        ends, expected = {}, {}
        for partition, progress in self._progress.items():
            if (end := self.fetches.end(partition)) is not None:
                ends[partition] = end
                expected[partition] = self.fetches.next_offset(partition, progress.expected)
        is_lost = self._tails.look(expected, ends, self._received)
        if is_lost:
            self._start_epoch()
        return is_lost

    def missing(self) -> dict[str, dict[str, int]]:
        """Return which partitions lack fetched events, and their offsets, for the log."""
        return {
            f"{partition[0]}-{partition[1]}": {"expected": progress.expected, "fetched_to": end}
            for partition, progress in self._progress.items()
            if (end := self.fetches.end(partition)) is not None and end > progress.expected
        }

    def settle(self, entries: list[Entry]) -> list[Entry]:
        """Mark entries as settled, and ack the events that no unsettled event precedes.

        Entries of an earlier epoch are ignored.

        Returns
        -------
        acked : `list` [`Entry`]
            The entries that were acked; those after an unsettled one wait for it.
        """
        partitions, acked = set(), []
        for entry in entries:
            if entry.epoch == self.epoch and not entry.settled:
                entry.settled = True
                self.bytes_held -= entry.size
                if entry.is_read_again:
                    acked.append(entry)
                else:
                    partitions.add(entry.partition)
        for partition in partitions:
            acked += self._ack_head(self._progress[partition])
        return acked

    @staticmethod
    def _ack_head(progress: _Progress) -> Iterator[Entry]:
        while progress.held and progress.held[0].settled:
            entry = progress.held.popleft()
            entry.ack()
            yield entry

    def lags(self, ends: Mapping[Partition, int]) -> dict[Partition, int]:
        """Return how many messages each partition's log has after the acked offset.

        Parameters
        ----------
        ends : `~collections.abc.Mapping`
            The offset at which each log ends, as far as it is known; it may be outdated.
        """
        return {
            partition: len(progress.held) + self._not_received(partition, ends.get(partition, 0))
            for partition, progress in self._progress.items()
        }

    def _not_received(self, partition: Partition, end: int) -> int:
        """Return how many messages the log has that were not received yet."""
        end = max(end, self.fetches.end(partition) or 0)
        return self.fetches.messages(partition, self._progress[partition].expected, end)

    def oldest(self) -> dict[Partition, float | None]:
        """Return when the oldest event of each partition that is not acked was received."""
        return {
            partition: progress.held[0].received_at if progress.held else None
            for partition, progress in self._progress.items()
        }

    def oldest_sent(self) -> dict[Partition, float | None]:
        """Return when the oldest event of each partition that is not acked was sent."""
        return {
            partition: progress.held[0].sent_at if progress.held else None
            for partition, progress in self._progress.items()
        }

    def state(self) -> dict[Partition, dict[str, int]]:
        """Return the offsets that each partition has reached, and how many entries it holds."""
        return {
            partition: {
                "start": progress.start,
                "expected": progress.expected,
                "held": len(progress.held),
                "acked_to": progress.acked_to,
            }
            for partition, progress in self._progress.items()
        }
