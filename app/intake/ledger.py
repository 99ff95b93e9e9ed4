"""The offset ledger: events are acked strictly in offset order per partition.

Faust 0.15 commits past a single unacked event (measured: offset 10 unacked, 11-19 acked, 20
committed), so an event may be acked only when all events before it are (rule
acked-in-offset-order).  The ledger also checks that offsets are consecutive (rule
no-gaps-in-offsets): after a rebalance Faust can clear queues that hold fetched events (measured: 1
event in 25 restarts), and an offset that no agent has received must not be committed.

Pure: no I/O, no clock, no Faust.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["Entry", "Ledger", "Partition", "Receipt"]

Partition = tuple[str, int]
"""Topic and partition number."""


class Receipt(Enum):
    """What the ledger decides about an event that has just arrived."""

    EXPECTED = "expected"
    """It has the next offset: the event now has an entry."""

    REPEATED = "repeated"
    """It was received before in this epoch: the event gets no second entry."""

    NOT_STARTED = "unplaced"
    """The partition's starting offset is not known yet: the event will be redelivered."""

    JUMPED = "jumped"
    """Offsets before it are missing: the partition must be read again from its committed offset."""


@dataclass(slots=True, eq=False)
class Entry:
    """An event that was received; it is acked only after its window is settled.

    Attributes
    ----------
    partition : `tuple` [`str`, `int`]
        Topic and partition.
    offset : `int`
        The event's offset.
    size : `int`
        Size of its value in bytes.
    epoch : `int`
        The epoch in which it was received.
    ack : `~collections.abc.Callable`
        Acks the event, so that its offset may be committed.
    """

    partition: Partition
    offset: int
    size: int
    epoch: int
    ack: Callable[[], object]
    settled: bool = False


@dataclass(slots=True)
class _Progress:
    """Progress in one partition: starting offset, next expected offset, entries not yet acked."""

    start: int
    expected: int
    held: deque[Entry] = field(default_factory=deque)


class Ledger:
    """Entries of every assigned partition, in offset order.

    An *epoch* is the time between two revocations.  Entries of an earlier epoch are dropped: their
    events will be redelivered, to this worker or to another, and acking them would commit past
    events that are not written.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.bytes_held = 0
        self.accepted_gaps = 0
        self._progress: dict[Partition, _Progress] = {}
        self._refused: dict[tuple[Partition, int], bool] = {}  # jump: whether accepted later
        self._tails: dict[Partition, tuple[int, int]] = {}  # offset, number of checks that found it
        self._checks_required: dict[tuple[Partition, int], int] = {}

    def revoke(self) -> None:
        """Start a new epoch: drop every entry and every starting offset.

        Refused jumps are dropped, too: the recovery after a revocation can itself lose events, so a
        jump that is found after it must be refused again.
        """
        self._refused.clear()
        self._tails.clear()
        self._checks_required.clear()
        self._start_epoch()

    def _start_epoch(self) -> None:
        self.epoch += 1
        self.bytes_held = 0
        self._progress.clear()

    def start_at(self, starts: Mapping[Partition, int]) -> None:
        """Set the offset at which each assigned partition starts to be read in this epoch.

        Parameters
        ----------
        starts : `~collections.abc.Mapping`
            The committed offset of each partition, or its earliest one if none is committed.
        """
        for partition, offset in starts.items():
            self._progress[partition] = _Progress(offset, offset)
        self._refused = {
            (p, o): accepted for (p, o), accepted in self._refused.items() if o >= starts.get(p, 0)
        }

    def receive(
        self, partition: Partition, offset: int, size: int, ack: Callable[[], object]
    ) -> tuple[Receipt, Entry | None]:
        """Enter an event as soon as it is received.

        A jump forward is refused once and starts a new epoch: no later event may be taken before
        the partitions are read again from their committed offsets.  If the jump is still there, it
        is real (retention, transaction markers): it is accepted and counted.

        Parameters
        ----------
        partition : `tuple` [`str`, `int`]
            Topic and partition number.
        offset : `int`
            The offset of the event.
        size : `int`
            Size of its value in bytes.
        ack : `~collections.abc.Callable`
            Called when the offset may be committed.

        Returns
        -------
        receipt : `Receipt`
            What the ledger decides about the event.
        entry : `Entry` or `None`
            `None` unless the receipt is ``EXPECTED``.
        """
        progress = self._progress.get(partition)
        if progress is None:
            return Receipt.NOT_STARTED, None
        if offset < progress.expected:
            return Receipt.REPEATED, None
        if offset > progress.expected:
            jump = (partition, progress.expected)
            if jump not in self._refused:
                self._refused[jump] = False
                self._start_epoch()
                return Receipt.JUMPED, None
            self.accepted_gaps += not self._refused[jump]
            self._refused[jump] = True
        entry = Entry(partition, offset, size, self.epoch, ack)
        progress.held.append(entry)
        progress.expected = offset + 1
        self.bytes_held += size
        return Receipt.EXPECTED, entry

    def misses_tail(self, ends: Mapping[Partition, int]) -> bool:
        """Return whether the last events of a partition seem to have been lost.

        A jump is found only when a later event arrives, which may not happen on a quiet topic.
        Call this at intervals longer than a fetch takes.  For each offset, the second call returns
        `True`, and each further `True` takes twice as many calls as the one before: if the end of
        the log is still ahead after reading again, the missing messages may be transaction markers,
        or may have been lost again.

        Parameters
        ----------
        ends : `~collections.abc.Mapping`
            End offset of each partition, where it is known.
        """
        missing = False
        for partition, progress in self._progress.items():
            if progress.expected >= ends.get(partition, 0):
                continue
            stuck_at, checks = self._tails.get(partition, (-1, 0))
            checks = checks + 1 if progress.expected == stuck_at else 1
            self._tails[partition] = progress.expected, checks
            required = self._checks_required.get((partition, progress.expected), 2)
            if checks == required:
                self._checks_required[partition, progress.expected] = 2 * required
                missing = True
        if missing:
            self._tails.clear()
            self._start_epoch()
        return missing

    def settle(self, entries: list[Entry]) -> int:
        """Mark entries as settled, and ack the events that no unsettled event precedes.

        Entries of an earlier epoch are ignored.

        Returns
        -------
        acked : `int`
            How many events were acked; events after an unsettled one wait for it.
        """
        partitions = set()
        for entry in entries:
            if entry.epoch == self.epoch and not entry.settled:
                entry.settled = True
                self.bytes_held -= entry.size
                partitions.add(entry.partition)
        return sum(self._ack_head(self._progress[partition]) for partition in partitions)

    @staticmethod
    def _ack_head(progress: _Progress) -> int:
        acked = 0
        while progress.held and progress.held[0].settled:
            progress.held.popleft().ack()
            acked += 1
        return acked

    def state(self) -> dict[Partition, dict[str, int]]:
        """Return the offsets that each partition has reached, and how many entries it holds."""
        return {
            partition: {
                "start": progress.start,
                "expected": progress.expected,
                "held": len(progress.held),
                "acked_to": progress.held[0].offset if progress.held else progress.expected,
            }
            for partition, progress in self._progress.items()
        }
