"""The offset ledger: events are acked strictly in offset order per partition.

Faust 0.15 commits past a single unacked event (measured: offset 10 unacked, 11-19 acked, 20
committed), so an event may be acked only when all events before it are (rule
acked-in-offset-order).  The ledger also checks that offsets are consecutive (rule
no-gaps-in-offsets): after a rebalance Faust can clear queues that hold fetched events (measured: 1
event in 25 restarts), and an offset that no agent has seen must not be committed.

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
    """What the ledger makes of an event that has just arrived."""

    EXPECTED = "expected"
    """The next offset: the event has an entry now."""

    REPEATED = "repeated"
    """Seen before in this epoch: the event has an entry already."""

    NOT_STARTED = "unplaced"
    """The partition's starting offset is not known yet: the event will be redelivered."""

    JUMPED = "jumped"
    """Offsets before it are missing: the partition must be read again from its committed offset."""


@dataclass(slots=True, eq=False)
class Entry:
    """An event that is not acked before its window is settled.

    Attributes
    ----------
    partition : `tuple` [`str`, `int`]
        Topic and partition.
    offset : `int`
        Its offset.
    size : `int`
        Size of its value in bytes.
    epoch : `int`
        The epoch in which it was received.
    ack : `~collections.abc.Callable`
        Called to let the offset be committed.
    """

    partition: Partition
    offset: int
    size: int
    epoch: int
    ack: Callable[[], object]
    settled: bool = False


@dataclass(slots=True)
class _Log:
    """One partition: where reading started, the next expected offset, the entries before it."""

    start: int
    expected: int
    held: deque[Entry] = field(default_factory=deque)


class Ledger:
    """Entries of every assigned partition, in offset order.

    An *epoch* is the time between two revocations.  Entries of an earlier epoch are void: their
    events will be redelivered, to this worker or to another, and acking them would commit past
    events that are not written.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.bytes_held = 0
        self.accepted_gaps = 0
        self._logs: dict[Partition, _Log] = {}
        self._refused: dict[tuple[Partition, int], bool] = {}  # and whether accepted since
        self._tails: dict[Partition, tuple[int, int]] = {}  # the last look's offset, and how often
        self._patience: dict[tuple[Partition, int], int] = {}

    def revoke(self) -> None:
        """Start a new epoch: every entry is void, and no starting offset is known.

        Refused jumps are forgotten, too: the recovery after a revocation can itself lose events, so
        a jump that is seen after it must be refused again.
        """
        self._refused.clear()
        self._tails.clear()
        self._patience.clear()
        self._start_epoch()

    def _start_epoch(self) -> None:
        self.epoch += 1
        self.bytes_held = 0
        self._logs.clear()

    def start_at(self, starts: Mapping[Partition, int]) -> None:
        """Set the offset at which each assigned partition is read, at the start of an epoch.

        Parameters
        ----------
        starts : `~collections.abc.Mapping`
            The committed offset of each partition, or its earliest one if none is committed.
        """
        for partition, offset in starts.items():
            self._logs[partition] = _Log(offset, offset)
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

        Returns
        -------
        receipt : `Receipt`
            What the ledger makes of it.
        entry : `Entry` or `None`
            Given if, and only if, the receipt is ``EXPECTED``.
        """
        log = self._logs.get(partition)
        if log is None:
            return Receipt.NOT_STARTED, None
        if offset < log.expected:
            return Receipt.REPEATED, None
        if offset > log.expected:
            jump = (partition, log.expected)
            if jump not in self._refused:
                self._refused[jump] = False
                self._start_epoch()
                return Receipt.JUMPED, None
            self.accepted_gaps += not self._refused[jump]
            self._refused[jump] = True
        entry = Entry(partition, offset, size, self.epoch, ack)
        log.held.append(entry)
        log.expected = offset + 1
        self.bytes_held += size
        return Receipt.EXPECTED, entry

    def misses_tail(self, ends: Mapping[Partition, int]) -> bool:
        """Return whether the last events of a partition seem to have been lost.

        A jump is noticed only when a later event arrives, which may not happen on a quiet topic.
        Call this at an interval longer than a fetch takes.  For each offset, the first answer of
        `True` comes at the second call and later ones after twice as many calls each: if the log's
        end is still ahead after reading again, the rest may be transaction markers, or lost again.

        Parameters
        ----------
        ends : `~collections.abc.Mapping`
            End offset of each partition, where it is known.
        """
        missing = False
        for partition, log in self._logs.items():
            if log.expected >= ends.get(partition, 0):
                continue
            seen, looks = self._tails.get(partition, (-1, 0))
            looks = looks + 1 if log.expected == seen else 1
            self._tails[partition] = log.expected, looks
            patience = self._patience.get((partition, log.expected), 2)
            if looks == patience:
                self._patience[partition, log.expected] = 2 * patience
                missing = True
        if missing:
            self._tails.clear()
            self._start_epoch()
        return missing

    def settle(self, entries: list[Entry]) -> int:
        """Mark entries as done, and ack the events whose turn it is.

        Entries of an earlier epoch are ignored.

        Returns
        -------
        acked : `int`
            How many events were acked; those after an unsettled one wait for it.
        """
        partitions = set()
        for entry in entries:
            if entry.epoch == self.epoch and not entry.settled:
                entry.settled = True
                self.bytes_held -= entry.size
                partitions.add(entry.partition)
        return sum(self._ack_head(self._logs[partition]) for partition in partitions)

    @staticmethod
    def _ack_head(log: _Log) -> int:
        acked = 0
        while log.held and log.held[0].settled:
            log.held.popleft().ack()
            acked += 1
        return acked

    def state(self) -> dict[Partition, dict[str, int]]:
        """Return the offsets that each partition has reached, and how many entries it holds."""
        return {
            partition: {
                "start": log.start,
                "expected": log.expected,
                "held": len(log.held),
                "acked_to": log.held[0].offset if log.held else log.expected,
            }
            for partition, log in self._logs.items()
        }
