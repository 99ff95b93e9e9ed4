"""Nothing under embargo is released before its time, whatever happens; everything is, when due."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from app.downstream.selection import Release
from app.downstream.waiting import HELD, Due, Waiting, entries
from tests.unit.downstream.messages import (
    EVENING,
    HOUR,
    NO_END,
    SECOND,
    Message,
    dataset,
    exposure,
    fixed_records,
    group_of,
    ids,
    names,
    record,
    selector,
    timespan,
    visit,
)

#: Hours of embargo by dataset type; types that are not here are never released.
HOURS = {"image": 80, "crop": 1.5, "catalogue": 0}
TYPES = [*HOURS, "secret", "plot"]
DETECTORS = (0, 1)

RULES = """
- dataset_types: [image]
  embargo_hours: 80
- dataset_types: [crop]
  embargo_hours: 1.5
- dataset_types: [catalogue]
  embargo_hours: 0
- dataset_types: [secret]
  exclude: true
"""

#: Hours for which the records of visits are held, besides.
RECORD_HOURS = (0, 60, 100)


@dataclass(frozen=True)
class Observed:
    """A visit of one exposure.

    Attributes
    ----------
    number : `int`
        Its number.
    end : `int` or `None`
        When it ended; `None`: that is not known.
    records : `list`
        The records that tell it.
    """

    number: int
    end: int | None
    records: list[Any]


@dataclass(frozen=True)
class Expected:
    """A dataset: when it is due (`None`: never), and the records that it needs."""

    due: int | None
    needs: frozenset[tuple[Any, ...]]


@dataclass
class Night:
    """Messages of two partitions, and what is expected of their datasets by id."""

    record_hours: int
    log: dict[int, list[Message]]
    expected: dict[str, Expected]

    @property
    def dues(self) -> list[int]:
        """Every time at which something is due."""
        return sorted({each.due for each in self.expected.values() if each.due is not None})

    @property
    def rules(self) -> str:
        """Its rules."""
        if not self.record_hours:
            return RULES
        return f"{RULES}- dimension_records: [visit]\n  embargo_hours: {self.record_hours}\n"


def observed(number: int, end: int, state: str) -> Observed:
    """Return a visit, told in one of several ways."""
    spans: dict[str, list[object]] = {
        "known": [timespan(end)],
        "revised": [timespan(end - 7 * SECOND), timespan(end)],
        "corrected": [timespan(end), timespan(end - HOUR)],
        "unbounded": [[0, NO_END]],
        "null": [None],
        "empty": [[NO_END, 0]],
        "missing": [],
    }
    records = [
        record("group", name=group_of(number)),
        *(make(number, span) for span in spans[state] for make in (exposure, visit)),
        record("visit_definition", exposure=number, visit=number),
        record("visit_system_membership", visit_system=2, visit=number),
        *(record("visit_detector_region", detector=n, visit=number) for n in DETECTORS),
    ]
    is_known = state in ("known", "revised", "corrected")
    return Observed(number, end if is_known else None, records)


def expected(name: str, kind: str, seen: Observed, detector: int, record_hours: int) -> Expected:
    """Return what is expected of a dataset, from the definition of the embargo."""
    n = seen.number
    group: set[tuple[Any, ...]] = {("group", group_of(n)), ("detector", detector)}
    of_exposure = group | {("exposure", n)}
    of_visit = of_exposure | {
        ("visit", n),
        ("visit_definition", n, n),
        ("visit_system_membership", 2, n),
        ("visit_detector_region", detector, n),
    }
    needs = {"visit": of_visit, "exposure": of_exposure, "group": group}.get(kind, set())
    if name not in HOURS:
        return Expected(None, frozenset(needs))
    hours = max(HOURS[name], record_hours if kind == "visit" else 0)
    end = None if kind == "none" else seen.end
    due = 0 if hours == 0 else None if end is None else end + int(hours * HOUR)
    return Expected(due, frozenset(needs))


@st.composite
def nights(draw: st.DrawFn) -> Night:
    """Build a night."""
    states = ["known", "known", "revised", "corrected", "unbounded", "null", "empty", "missing"]
    visits = [
        observed(n, EVENING + draw(st.integers(0, 3 * HOUR)), draw(st.sampled_from(states)))
        for n in range(draw(st.integers(1, 3)))
    ]
    night = Night(draw(st.sampled_from(RECORD_HOURS)), {0: [], 1: []}, {})
    kinds = st.sampled_from(["visit", "visit", "exposure", "group", "none"])
    for partition in draw(st.lists(st.integers(0, 1), min_size=1, max_size=4)):
        message = Message([], fixed_records(*DETECTORS))
        for seen in visits:
            message.dimension_records += seen.records
        for _ in range(draw(st.integers(1, 4))):
            name, kind = draw(st.sampled_from(TYPES)), draw(kinds)
            seen, detector = draw(st.sampled_from(visits)), draw(st.sampled_from(DETECTORS))
            value = group_of(seen.number) if kind == "group" else seen.number
            data_id: dict[str, Any] = {} if kind == "none" else {kind: value, "detector": detector}
            made = dataset(name, **data_id)
            message.datasets.append(made)
            (dataset_id,) = made["refs"]
            night.expected[dataset_id] = expected(name, kind, seen, detector, night.record_hours)
        night.log[partition].append(message)
    return night


@dataclass
class Downstream:
    """What a worker does with the pure parts, and what its target repository has."""

    night: Night
    now: int = EVENING - HOUR
    table: dict[str, Any] = field(default_factory=dict)
    index: Waiting = field(default_factory=Waiting)
    position: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    committed: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    released: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.selector = selector(self.night.rules)

    def read(self, partition: int) -> None:
        """Read the next message of a partition, if there is one."""
        offset = self.position[partition]
        if offset == len(self.night.log[partition]):
            return
        found = self.selector.select(self.night.log[partition][offset], self.now)
        self._write(found.release)
        for due, numbers in entries(partition, offset, found).items():
            self.table[due.key] = numbers
            self.index.put(due, numbers)
        self.position[partition] += 1

    def release(self, limit: int = 10**6, *, crash: bool = False) -> None:
        """Release what is due; with a crash, before the table knows."""
        for due in self.index.due(self.now, limit):
            message = self.night.log[due.partition][due.offset]
            self._write(self.selector.select(message, self.now, since=due.time).release)
            if crash:
                self.restart(due.offset)
                return
            del self.table[due.key]
            self.index.remove(due)

    def commit(self, partition: int) -> None:
        self.committed[partition] = self.position[partition]

    def restart(self, seed: int) -> None:
        """Make the index anew from the table, and read again what was not committed."""
        rows = [(Due.from_key(key), numbers) for key, numbers in self.table.items()]
        random.Random(seed).shuffle(rows)
        self.index = Waiting(rows)
        self.position = self.committed.copy()

    def rewind(self, partition: int) -> None:
        """Read the partition again from its start."""
        self.position[partition] = self.committed[partition] = 0

    def _write(self, release: Release) -> None:
        given = {
            dataset_id: self.night.expected[dataset_id] for dataset_id in ids(release.datasets)
        }
        for each in given.values():
            assert each.due is not None, "it is never released"
            assert each.due <= self.now, "it is under embargo"
        allowed = set().union(*(each.needs for each in given.values()))
        observations = ("group", "exposure", "visit", "detector")
        brought = {
            key for key in names(release.dimension_records) if key[0].startswith(observations)
        }
        assert brought - {("visit_system", 2)} <= allowed, "no dataset needs these records"
        self.released |= given.keys()


EDGES = st.sampled_from([-1, 0, 1, -SECOND, SECOND, -37 * SECOND, 37 * SECOND])
PARTITIONS = st.integers(0, 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), PARTITIONS),
        st.tuples(st.just("read"), PARTITIONS),
        st.tuples(st.just("release"), st.integers(1, 3)),
        st.tuples(st.just("release"), st.integers(1, 3)),
        st.tuples(st.just("crash"), st.integers(1, 3)),
        st.tuples(st.just("commit"), PARTITIONS),
        st.tuples(st.just("restart"), st.integers(0, 99)),
        st.tuples(st.just("rewind"), PARTITIONS),
        st.tuples(st.just("clock"), st.integers(-50 * HOUR, 60 * HOUR)),
        st.tuples(st.just("edge"), st.integers(0, 99), EDGES),
    ),
    max_size=25,
)


def take(step: tuple[Any, ...], worker: Downstream) -> None:
    match step:
        case "clock", change:
            worker.now += change
        case "edge", number, change:
            dues = [due for due in worker.night.dues if due] or [EVENING]
            worker.now = dues[number % len(dues)] + change
        case "crash", limit:
            worker.release(limit, crash=True)
        case name, argument:
            getattr(worker, name)(argument)


def finish(worker: Downstream) -> None:
    """Read everything; then let the clock run, and release what is due as soon as it is."""
    night = worker.night
    worker.now = EVENING
    for partition in night.log:
        while worker.position[partition] < len(night.log[partition]):
            worker.read(partition)
    for due in night.dues:
        for now in (due - 1, due):
            worker.now = max(now, EVENING)
            worker.release()
            is_due = {
                dataset_id
                for dataset_id, each in night.expected.items()
                if each.due is not None and each.due <= worker.now
            }
            assert is_due <= worker.released, "it is due and was not released"


@given(nights(), STEPS)
def test_no_interleaving_releases_a_dataset_or_its_records_early(
    night: Night, steps: list[tuple[Any, ...]]
) -> None:
    """Restarts, replays, clocks that jump; and in the end everything was released."""
    worker = Downstream(night)
    for step in steps:
        take(step, worker)
    finish(worker)
    due = {dataset_id for dataset_id, each in night.expected.items() if each.due is not None}
    assert worker.released == due
    assert worker.index.next_time is None
    assert all(Due.from_key(key).time == HELD for key in worker.table)


@given(nights())
def test_everything_is_released_at_the_nanosecond_at_which_it_is_due(night: Night) -> None:
    worker = Downstream(night, now=EVENING)
    for partition in night.log:
        while worker.position[partition] < len(night.log[partition]):
            worker.read(partition)
    for now in sorted({moment + n for moment in night.dues if moment for n in (-1, 0)}):
        worker.now = max(now, EVENING)
        worker.release()
        assert worker.released == {
            dataset_id
            for dataset_id, each in night.expected.items()
            if each.due is not None and each.due <= worker.now
        }


@given(nights(), st.integers(0, 200 * HOUR))
def test_a_message_gives_the_same_whenever_it_is_read(night: Night, later: int) -> None:
    """Released, waiting and held: each dataset is in one of them, and only time moves it."""
    select = selector(night.rules).select
    for message in (each for messages in night.log.values() for each in messages):
        first, second = select(message, EVENING), select(message, EVENING + later)
        assert first.held == second.held
        assert first.excluded == second.excluded
        assert ids(first.release.datasets) <= ids(second.release.datasets)
        moved = {due: each for due, each in first.waiting.items() if due > EVENING + later}
        assert second.waiting == moved
        counted = [*second.waiting.values(), *second.held.values(), *second.excluded.values()]
        number = sum(each.total() for each in counted)
        assert number + len(ids(second.release.datasets)) == len(ids(message.datasets))
