"""The table ``waiting``: which messages of the product log to read again, and when.

Its state is in its changelog; the worker keeps an index of the entries of partitions that it reads.
An entry is written before its message is acked, and removed once its datasets are in the
repository: whatever ends a worker, all datasets of an acked message are written or waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from faust.types.tables import TableT

from app.butler.descriptions import describe_with_type
from app.downstream.waiting import HELD, Due, Numbers, Waiting
from app.kafka.changelog import Changelog, read_until_done, send_state
from app.telemetry import metrics

__all__ = ["WaitingTable"]

logger = structlog.get_logger("butler_writer")

_SECOND = 1_000_000_000


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

    Attributes
    ----------
    index : `Waiting`
        The entries of the partitions that this worker reads.
    is_restored : `bool`
        Whether the index has what the changelog had at the last rebalance; nothing is released
        before.
    """

    table: TableT[str, Any]
    changelog: Changelog
    rules: str
    index: Waiting = field(default_factory=Waiting)
    is_restored: bool = False
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
        for forgotten in (self._outdated, self._taken, self._changes):
            forgotten.clear()

    async def restore(self, partitions: Collection[int]) -> None:
        """Read the changelog after a rebalance, until that succeeds or the next one begins.

        Parameters
        ----------
        partitions : `~collections.abc.Collection` [`int`]
            The partitions of the product log that this worker reads now.
        """
        epoch = self._epoch
        self.changelog.forget()
        latest = await read_until_done(self.changelog, "what waits", lambda: epoch == self._epoch)
        if latest is None:
            return
        # In a thread: a million entries would hold up the event loop.
        index, outdated = await asyncio.to_thread(self._index_of, latest, partitions)
        if epoch != self._epoch:
            return
        self.index, self._outdated = index, outdated
        for due, changed in self._changes.items():  # since the reading began
            self._apply(due, changed)
        self._changes.clear()
        self.is_restored = True
        logger.info(
            "what waits is restored", messages=len(self.index), by_other_rules=len(self._outdated)
        )

    def _index_of(
        self, latest: Mapping[bytes, bytes | None], partitions: Collection[int]
    ) -> tuple[Waiting, set[Due]]:
        """Return the index of what a changelog has, and which entries were made by other rules."""
        outdated: set[Due] = set()

        def entries() -> Iterator[tuple[Due, Numbers]]:
            for key, value in latest.items():
                due = None if value is None else _due(key)
                if value is not None and due is not None and due.partition in partitions:
                    rules, numbers = _state(value)
                    if rules != self.rules:
                        outdated.add(due)
                    yield due, numbers

        return Waiting(entries()), outdated

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

    async def keep(self, waiting: Mapping[Due, Numbers], done: Collection[Due]) -> None:
        """Write entries to the changelog, then remove others; return once the brokers have it.

        Parameters
        ----------
        waiting : `~collections.abc.Mapping` [`Due`, `~collections.abc.Mapping`]
            The entries of what waits, each with the numbers of its datasets by type.
        done : `~collections.abc.Collection` [`Due`]
            Entries that were taken and are no longer needed, unless they are among the others.

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
        await asyncio.gather(
            *(
                send_state(self.table, due.key, {"rules": self.rules, "datasets": dict(numbers)})
                for due, numbers in new.items()
            )
        )
        old = [due for due in done if due not in waiting]
        await asyncio.gather(*(send_state(self.table, due.key, None) for due in old))
        if epoch != self._epoch:
            return
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


def _due(key: bytes) -> Due | None:
    """Return the entry of a key of the changelog, if it has the form of one."""
    try:
        return Due.from_key(str(orjson.loads(key)))
    except Exception as exc:  # noqa: BLE001 - nothing can be done about such a key
        logger.error(  # noqa: TRY400 - a traceback says nothing more
            "record of the changelog of what waits skipped", error=describe_with_type(exc)
        )
        return None


def _state(value: bytes) -> tuple[str | None, Numbers]:
    """Return the rules that have made an entry, and its numbers of datasets by type."""
    try:
        state = orjson.loads(value)
        return state["rules"], {str(n): int(c) for n, c in state["datasets"].items()}
    except Exception:  # noqa: BLE001 - the key suffices to read the message again
        return None, {}
