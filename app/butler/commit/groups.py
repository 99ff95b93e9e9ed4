"""The groups into which a window that keeps failing is divided: which one is written next."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator, Sequence, Set

from app.butler.events.parsed import ParsedEvent

__all__ = ["Groups"]

#: How often the groups are formed anew by what failing events have in common.
_GUESSES = 5

#: How many reasons are remembered for the next windows.
_REMEMBERED = 50_000


class Groups:
    """Groups of events, each to be written in a transaction of its own.

    The largest ones come first, so that the halves without fault are not late.  Events with the
    same records stay together: if somebody holds a lock on the row of a visit, its events all fail,
    and those of other visits should not have to be found among them.  What single events that
    failed have in common, and no event that was written has, such as a detector whose row somebody
    has locked, is taken for the reason: the events without it form one group.

    Once as many groups in a row have failed as the next one has events, so many events fail that
    larger groups would wait in vain: the others come one by one.

    Parameters
    ----------
    events : `~collections.abc.Sequence` [`ParsedEvent`]
        The events of the window.
    suspected : `~collections.abc.Set` [`~collections.abc.Hashable`]
        The `reasons` that were found in other windows.
    """

    def __init__(
        self, events: Sequence[ParsedEvent], suspected: Set[Hashable] = frozenset()
    ) -> None:
        self._groups: deque[Sequence[ParsedEvent]] = deque()
        self._written: set[Hashable] = set()
        self._failing: Counter[Hashable] = Counter()
        self._suspected: Set[Hashable] = suspected
        self._guesses = _GUESSES
        self._in_vain = 0
        self._is_one_by_one = False
        self._form(sorted(events, key=_kinship))

    def __iter__(self) -> Iterator[Sequence[ParsedEvent]]:
        """Take the groups, one after another, with those that are added meanwhile."""
        while self._groups:
            yield self._groups.popleft()

    def add_written(self, events: Sequence[ParsedEvent]) -> None:
        """Take note of events that were written."""
        for event in events:
            self._written |= _marks(event)
            self._in_vain = 0

    def add_failed(self, events: Sequence[ParsedEvent]) -> None:
        """Take note of a group that failed; one of several events is divided."""
        if len(events) == 1:
            self._failing.update(_marks(events[0]))
            self._guess()
            return
        self._in_vain += 1
        if self._in_vain >= len(events) and not self._is_one_by_one:
            self._is_one_by_one = True
            self._groups = deque(self._divided(_joined(self._groups)))
        self._groups += self._divided(events)

    def _divided(self, events: Sequence[ParsedEvent]) -> list[Sequence[ParsedEvent]]:
        size = 1 if self._is_one_by_one else (len(events) + 1) // 2
        return [events[n : n + size] for n in range(0, len(events), size)]

    def _guess(self) -> None:
        """Separate the events that have what several failing ones have in common."""
        common = {mark for mark, number in self._failing.items() if number > 1} - self._written
        if self._written and self._guesses and not common <= self._suspected:
            self._guesses -= 1
            self._suspected |= common
            self._form(_joined(self._groups))

    def _form(self, events: Sequence[ParsedEvent]) -> None:
        """Form the groups anew: the events that are not suspected come first."""
        suspects = [event for event in events if not self._suspected.isdisjoint(_marks(event))]
        others = [event for event in events if self._suspected.isdisjoint(_marks(event))]
        self._groups = deque(group for group in (others, suspects) if group)

    @property
    def reasons(self) -> Set[Hashable]:
        """What events that failed have, and no event that was written."""
        found = self._failing.keys() if self._written else ()
        reasons = {*self._suspected, *found} - self._written
        return reasons if len(reasons) <= _REMEMBERED else set()


def _joined(groups: Iterable[Sequence[ParsedEvent]]) -> list[ParsedEvent]:
    return [event for group in groups for event in group]


def _marks(event: ParsedEvent) -> set[Hashable]:
    """Return what an event may have in common with others."""
    marks: set[Hashable] = {*event.records}
    for ref in event.refs:
        marks.update(ref.dataId.required.items())
        marks.update((ref.datasetType.name, ref.run))
    return marks


def _kinship(event: ParsedEvent) -> tuple[list[str], str]:
    """Return a key by which events with the same dimension records or data IDs are neighbours."""
    return sorted(map(str, event.records)), min((str(ref.dataId) for ref in event.refs), default="")
