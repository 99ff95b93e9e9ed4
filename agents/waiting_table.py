"""The table ``waiting``: which messages of the product log to read again, and when.

Its state is in its changelog; the worker keeps an index of the entries of partitions that it reads.
An entry is written before its message is acked, and removed once its datasets are in the
repository: whatever ends a worker, all datasets of an acked message are written or waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from faust.types.tables import TableT

from app.butler.descriptions import describe_with_type
from app.butler.failures import RetryableError
from app.downstream.due_messages import DueMessage
from app.downstream.kept_state import Unruled, restored_state
from app.downstream.selection import Exclusion, Selection
from app.downstream.waiting import HELD, Due, Numbers, Waiting, entries
from app.downstream.withdrawn import Withdrawn
from app.intake.received import Received
from app.intake.windows import Arrival
from app.kafka.changelog import Changelog, read_until_done, send_state
from app.telemetry import metrics

__all__ = ["WaitingTable"]

logger = structlog.get_logger("butler_writer")

_SECOND = 1_000_000_000

#: Seconds that a window waits for the table before its step counts as failed.
RESTORED_WITHIN = 5.0


@dataclass
class WaitingTable:
    """Keeps what waits.

    Parameters
    ----------
    table : `faust.Table`
        The table.
    changelog : `Changelog`
        Its changelog.
    rules : `str`
        Identifies the release rules: entries that were made by others are looked at again.
    removals : `~collections.abc.Callable`
        Asks the repository how often something was removed.

    Attributes
    ----------
    index : `Waiting`
        The entries of the partitions that this worker reads.
    is_restored : `bool`
        Whether the index has what the changelog had at the last rebalance; nothing is released
        before.
    withdrawn : `Withdrawn`
        What was withdrawn; complete once the table is restored, as far as it was withdrawn by then.
    """

    table: TableT[str, Any]
    changelog: Changelog
    rules: str
    removals: Callable[[], Awaitable[int]]
    index: Waiting = field(default_factory=Waiting)
    is_restored: bool = False
    withdrawn: Withdrawn = field(default_factory=Withdrawn)
    _restored: asyncio.Event = field(default_factory=asyncio.Event)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _partitions: Collection[int] = ()
    _unruled: set[Unruled] = field(default_factory=set)
    _outdated: set[Due] = field(default_factory=set)
    _taken: set[Due] = field(default_factory=set)
    _taken_in: int = 0
    _changes: dict[Due, Numbers | None] = field(default_factory=dict)
    _epoch: int = 0

    def revoke(self) -> None:
        """Forget everything; it is read again after the rebalance."""
        self._epoch += 1
        self.is_restored = False
        self.index = Waiting()
        self._restored.clear()
        # Not what was withdrawn: a window that is being written still needs it.
        for forgotten in (self._outdated, self._taken, self._changes, self._unruled):
            forgotten.clear()

    async def restore(self, partitions: Collection[int]) -> None:
        """Read the changelog after a rebalance, until that succeeds or the next one begins.

        Parameters
        ----------
        partitions : `~collections.abc.Collection` [`int`]
            The partitions of the product log that this worker reads now.
        """
        epoch, self._partitions = self._epoch, partitions
        read = await read_until_done(self._read, "what waits", lambda: epoch == self._epoch)
        if read is None:
            return
        number, latest = read
        # In a thread: a million entries would hold up the event loop.
        found = await asyncio.to_thread(restored_state, latest, partitions, self.rules)
        if epoch != self._epoch:
            return
        for error in found.errors:
            reason = describe_with_type(error)
            logger.error("record of the changelog of what waits skipped", error=reason)
        self.index, self._outdated = found.index, found.outdated
        self._unruled |= found.unruled
        self.withdrawn = replace(found.withdrawn, number=number)
        for due, changed in self._changes.items():  # since the reading began
            self._apply(due, changed)
        self._changes.clear()
        self.is_restored = True
        self._restored.set()
        logger.info(
            "what waits is restored",
            messages=len(self.index),
            by_other_rules=len(self._outdated),
            withdrawn=len(self.withdrawn.ids) + len(self.withdrawn.runs),
        )

    async def _read(self) -> tuple[int, Mapping[bytes, bytes | None]]:
        # In this order: what the number counts was in the changelog before it was counted.
        number = await self._number()
        return number, await self.changelog.anew().read_beside()

    async def _number(self) -> int:
        async with self._asking:  # one thread at a time
            return await self.removals()

    async def wait_restored(self, *, looks_again: bool = False) -> None:
        """Wait until it is known what was withdrawn.

        Parameters
        ----------
        looks_again : `bool`, optional
            Whether something may have been removed since.

        Raises
        ------
        RetryableError
            If that takes long; the call may be repeated.
        """
        if looks_again:
            async with self._looking:
                if self.is_restored and await self._number() != self.withdrawn.number:
                    self.is_restored = False
                    self._restored.clear()
                    await self.restore(self._partitions)
        try:
            await asyncio.wait_for(self._restored.wait(), RESTORED_WITHIN)
        except TimeoutError:
            raise RetryableError(
                f"the changelog {self.changelog.topic} is not read yet: what was withdrawn is not "
                "known; check that the brokers answer, and the right READ on it"
            ) from None

    def take(self, now: int, limit: int, epoch: int) -> list[Due]:
        """Take entries that are due, or that other rules have made; each is taken once.

        Parameters
        ----------
        now : `int`
            The time, in nanoseconds of Unix time.
        limit : `int`
            The most entries.
        epoch : `int`
            The epoch of the intake: what was taken in an earlier one was dropped.
        """
        if epoch != self._taken_in:
            self._taken.clear()
            self._taken_in = epoch
        if not self.is_restored:
            return []
        due = self.index.due(now, limit + len(self._taken))
        chosen = [*dict.fromkeys([*due, *self._outdated])]
        taken = [each for each in chosen if each not in self._taken][:limit]
        self._taken.update(taken)
        return taken

    def give_back(self, dues: Iterable[Due]) -> None:
        """Give back entries whose messages could not be read now."""
        self._taken.difference_update(dues)

    def since(self, due: Due) -> int:
        """Return the time since which the datasets of an entry's message are not released."""
        return 0 if due in self._outdated else due.time

    @property
    def without_rule(self) -> list[str]:
        """The dataset types for which the rules have none, as far as this worker knows."""
        return sorted(each.name for each in self._unruled)

    async def keep_rest(
        self,
        arrivals: Sequence[Arrival[Received]],
        selections: Mapping[Arrival[Received], Selection],
    ) -> None:
        """Keep what is not due of the messages of a window; remove what was waiting and is written.

        Parameters
        ----------
        arrivals : `~collections.abc.Sequence` [`Arrival`]
            The messages, read for the first time or again.
        selections : `~collections.abc.Mapping` [`Arrival`, `Selection`]
            What the rules say of each that could be read.

        Raises
        ------
        KafkaError
            If a broker does not take it; the call may be repeated.
        """
        waiting: dict[Due, Numbers] = {}
        done: list[Due] = []
        unruled: set[str] = set()
        for arrival in arrivals:
            entry, payload = arrival.entry, arrival.payload
            if (selection := selections.get(arrival)) is not None:
                waiting |= entries(entry.partition[1], entry.offset, selection)
                unruled.update(selection.excluded.get(Exclusion.NO_RULE, ()))
            if isinstance(payload, DueMessage):
                done.append(payload.due)
        await self.keep(waiting, done, unruled)

    async def keep(
        self,
        waiting: Mapping[Due, Numbers],
        done: Collection[Due],
        unruled: Collection[str] = (),
    ) -> None:
        """Write entries to the changelog, then remove others; return once the brokers have it.

        Parameters
        ----------
        waiting : `~collections.abc.Mapping` [`Due`, `~collections.abc.Mapping`]
            The entries of what waits, each with the numbers of its datasets by type.
        done : `~collections.abc.Collection` [`Due`]
            Entries that were taken and are no longer needed, unless they are among the others.
        unruled : `~collections.abc.Collection` [`str`], optional
            Dataset types for which there is no rule.

        Raises
        ------
        KafkaError
            If a broker does not take it; the call may be repeated.
        """
        epoch = self._epoch
        new = {
            due: numbers
            for due, numbers in waiting.items()
            if due not in self.index or due in self._outdated
        }
        named = {*map(Unruled, unruled)} - self._unruled
        await asyncio.gather(
            *(
                send_state(self.table, due.key, {"rules": self.rules, "datasets": dict(numbers)})
                for due, numbers in new.items()
            ),
            *(send_state(self.table, each.key, {"rules": self.rules}) for each in named),
        )
        old = [due for due in done if due not in waiting]
        await asyncio.gather(*(send_state(self.table, due.key, None) for due in old))
        if epoch != self._epoch:
            return
        self._unruled |= named
        changes: dict[Due, Numbers | None] = {**new, **dict.fromkeys(old)}
        for due, changed in changes.items():
            self._apply(due, changed)
            if not self.is_restored:
                self._changes[due] = changed
        self.give_back(done)

    def _apply(self, due: Due, changed: Numbers | None) -> None:
        self._outdated.discard(due)
        if changed is None:
            self.index.remove(due)
        else:
            self.index.put(due, changed)

    def show(self, now: int) -> None:
        """Set the gauges; `now` is the time, in nanoseconds of Unix time."""
        metrics.WAITING_DATASETS.set(self.index.datasets)
        metrics.HELD_DATASETS.set(sum(self.index.held.values()))
        metrics.WAITING_MESSAGES.set(len(self.index))
        first = self.index.next_time
        overdue = 0 if first is None or first == HELD else max(0, now - first)
        metrics.OVERDUE_SECONDS.set(overdue / _SECOND)
