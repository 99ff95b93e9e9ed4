"""The offset ledger: events are acked strictly in offset order per partition.

Faust 0.15 commits past a lone unacked event (measured: offset 10 unacked, 11-19 acked, 20
committed), so nothing may be acked before everything below it is.  The ledger also checks that
offsets follow one another: after a rebalance Faust can clear queues that hold fetched events
(measured: 1 event in 25 restarts), and an event that was never seen must not be committed past.

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
    """What the ledger says of an event that has just arrived."""

    EXPECTED = "expected"
    """The next offset: it has an entry now."""

    REPEATED = "repeated"
    """Seen before in this epoch: its entry is there already."""

    UNPLACED = "unplaced"
    """The partition's starting offset is not known (yet): it will be delivered again."""

    JUMPED = "jumped"
    """Offsets are missing below it: the partition is to be read again from its committed offset."""


@dataclass(slots=True, eq=False)
class Entry:
    """An event whose offset is held back until its window is settled.

    Attributes
    ----------
    partition : `tuple` [`str`, `int`]
        Topic and partition.
    offset : `int`
        Its offset.
    size : `int`
        Size of its value in bytes.
    epoch : `int`
        The assignment that it was received under.
    ack : `~collections.abc.Callable`
        Tells Faust that the offset may be committed.
    """

    partition: Partition
    offset: int
    size: int
    epoch: int
    ack: Callable[[], object]
    settled: bool = False


@dataclass(slots=True)
class _Log:
    """One partition: where reading started, the next offset expected, what is held below it."""

    start: int
    expected: int
    held: deque[Entry] = field(default_factory=deque)


class Ledger:
    """Entries of every assigned partition, in offset order.

    An *epoch* is the time between two revocations.  Entries of an earlier epoch are void: their
    events are delivered again, here or elsewhere, and acking them would commit past that.
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

        Jumps that were refused are forgotten, too: the recovery that follows a revocation can
        itself lose events, so that a jump seen after it has to be refused anew.
        """
        self._refused.clear()
        self._tails.clear()
        self._patience.clear()
        self._start_epoch()

    def _start_epoch(self) -> None:
        self.epoch += 1
        self.bytes_held = 0
        self._logs.clear()

    def place(self, starts: Mapping[Partition, int]) -> None:
        """Set where the reading of each assigned partition starts, at the start of an epoch.

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
        """Enter an event, at once on its receipt.

        A jump is refused once, and starts a new epoch: what follows it must not be taken before
        the partitions are read again from their committed offsets.  A jump that is still there
        then is real (retention, transaction markers): it is accepted and counted.

        Returns
        -------
        receipt : `Receipt`
            What became of it.
        entry : `Entry` or `None`
            Its entry if, and only if, the receipt is ``EXPECTED``.
        """
        log = self._logs.get(partition)
        if log is None:
            return Receipt.UNPLACED, None
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
        """Tell whether the last events of a partition seem to have been lost on the way.

        A jump shows only when a later event arrives; on a quiet topic none may.  To be asked at
        an interval longer than a fetch takes.  For each offset it is told at the second look, and
        then ever more rarely: an end that stays ahead after reading again may be real (transaction
        markers), or lost once more.

        Parameters
        ----------
        ends : `~collections.abc.Mapping`
            End of each partition's log, as far as it is known.
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
        """Mark entries as done, and ack what may now be acked.

        Entries of an earlier epoch are passed over.

        Returns
        -------
        acked : `int`
            How many events were acked; those behind an unsettled one wait for it.
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
        """Return, for each partition, the offsets that it has come to, and how many are held."""
        return {
            partition: {
                "start": log.start,
                "expected": log.expected,
                "held": len(log.held),
                "acked_to": log.held[0].offset if log.held else log.expected,
            }
            for partition, log in self._logs.items()
        }
