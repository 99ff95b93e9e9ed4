"""The index of what waits: which messages of the product log to read again, and when.

One entry for each message and time at which some of its datasets are due, and one for those that
are held: never one for a dataset.  The entries are kept in a table; the index is made from it, in
any order, and follows its changes.

Pure: no I/O, no clock.  All times are nanoseconds of Unix time.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Mapping
from sys import intern
from typing import NamedTuple, TypeAlias, TypeVar

from app.downstream.selection import Selection

__all__ = ["HELD", "Due", "Waiting", "entries"]

#: The due time of what is held until a rule says otherwise.
HELD = 2**63 - 1

_HOUR = 3_600 * 1_000_000_000

#: How many different values are known at most: an entry may always have one of its own.
_KEPT_ONCE = 100

K = TypeVar("K")

Numbers: TypeAlias = Mapping[str, int]
"""Numbers of datasets by type."""


class Due(NamedTuple):
    """When some datasets of a message are due, and the message.

    Attributes
    ----------
    time : `int`
        When they are due; `HELD`: when a rule says otherwise.
    partition, offset : `int`
        Where the product log has the message.
    """

    time: int
    partition: int
    offset: int

    @property
    def key(self) -> str:
        """The key of its entry in a table."""
        return f"{self.partition}-{self.offset}-{self.time}"

    @classmethod
    def from_key(cls, key: str) -> Due:
        """Return what a key of a table stands for."""
        partition, offset, time = map(int, key.split("-"))
        return cls(time, partition, offset)


def entries(partition: int, offset: int, selection: Selection) -> dict[Due, Numbers]:
    """Return the entries of a message, each with the numbers of its datasets by type.

    Parameters
    ----------
    partition, offset : `int`
        Where the product log has the message.
    selection : `app.downstream.selection.Selection`
        What was selected from it.
    """
    held: Counter[str] = sum(selection.held.values(), Counter())
    return {
        Due(time, partition, offset): numbers
        for time, numbers in [*selection.waiting.items(), (HELD, held)]
        if numbers
    }


class Waiting:
    """The index of what waits.

    Parameters
    ----------
    given : `~collections.abc.Iterable` [`tuple` [`Due`, `~collections.abc.Mapping`]]
        The entries, in any order, each with the numbers of its datasets by type; of one that is
        there twice, the last counts.
    """

    def __init__(self, given: Iterable[tuple[Due, Numbers]] = ()) -> None:
        self._numbers: dict[Due, tuple[tuple[str, ...], tuple[int, ...]]] = {}
        #: Most entries have the same types, and many the same numbers: each is kept once.
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._counts: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._by_hour: Counter[tuple[int, str]] = Counter()
        for due, numbers in given:
            self._count(due, numbers)
        self._order = sorted(self._numbers)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._numbers)

    def __contains__(self, due: object) -> bool:
        """Return whether there is an entry."""
        return due in self._numbers

    def put(self, due: Due, numbers: Numbers) -> None:
        """Add an entry; one that is there already is replaced."""
        if due not in self._numbers:
            insort(self._order, due)
        self._count(due, numbers)

    def remove(self, due: Due) -> None:
        """Remove an entry, if it is there."""
        if due in self._numbers:
            self._discount(due)
            del self._order[bisect_left(self._order, due)]

    def due(self, now: int, limit: int) -> list[Due]:
        """Return the first entries that are due at a time, in order.

        Parameters
        ----------
        now : `int`
            The time.
        limit : `int`
            The most entries.
        """
        return [due for due in self._order[:limit] if due.time <= now and due.time != HELD]

    @property
    def next_time(self) -> int | None:
        """When the next entry is due; `None`: none will be."""
        if not self._order or self._order[0].time == HELD:
            return None
        return self._order[0].time

    @property
    def datasets(self) -> int:
        """The number of datasets that are due at some time."""
        return sum(number for (hour, _), number in self._by_hour.items() if hour != HELD)

    @property
    def held(self) -> dict[str, int]:
        """The number of datasets by type that are held until a rule says otherwise."""
        return {name: number for (hour, name), number in self._by_hour.items() if hour == HELD}

    def by_hour(self) -> dict[int, dict[str, int]]:
        """Return the hours in which datasets are due, each with their number by type.

        An hour is given by its first nanosecond.
        """
        found: dict[int, dict[str, int]] = {}
        for (hour, name), number in sorted(self._by_hour.items()):
            if hour != HELD:
                found.setdefault(hour, {})[name] = number
        return found

    def _count(self, due: Due, numbers: Numbers) -> None:
        if due in self._numbers:
            self._discount(due)
        names, counts = tuple(map(intern, numbers)), tuple(numbers.values())
        self._numbers[due] = _kept_once(self._names, names), _kept_once(self._counts, counts)
        hour = _hour(due)
        for name, number in numbers.items():
            self._by_hour[hour, name] += number

    def _discount(self, due: Due) -> None:
        hour = _hour(due)
        for name, number in zip(*self._numbers.pop(due), strict=True):
            left = self._by_hour[hour, name] - number
            if left:
                self._by_hour[hour, name] = left
            else:
                del self._by_hour[hour, name]


def _kept_once(known: dict[K, K], value: K) -> K:
    """Return a value that is equal, and the same object as the last one that was."""
    if len(known) > _KEPT_ONCE:
        known.clear()
    return known.setdefault(value, value)


def _hour(due: Due) -> int:
    return HELD if due.time == HELD else due.time // _HOUR * _HOUR
