"""Which event ends its workers (rule no-endless-retries)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intake.evidence import CommitEvidence, as_metadata, from_metadata
from app.intake.starts import StartRecord, Starts

P, Q = ("pp-output", 0), ("pp-output", 1)


@given(
    starts=st.integers(0, 10**9 - 1),
    careful_to=st.integers(0, 2**63 - 1),
    trying=st.none() | st.integers(0, 2**63 - 1),
)
def test_a_record_is_read_back_from_a_commits_metadata(
    starts: int, careful_to: int, trying: int | None
) -> None:
    evidence = CommitEvidence(None, "a" * 32, StartRecord(starts, careful_to, trying))
    assert from_metadata(as_metadata(evidence), 5) == evidence


@dataclass
class Group:
    """A log with events that end their worker, and the commit of a group that reads it."""

    end: int
    harmful: set[int]
    limit: int = 3
    committed: int = 0
    record: StartRecord = field(default_factory=StartRecord)
    set_aside: list[int] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)

    def run(self, window: int = 4) -> bool:
        """Run a worker that writes so many events at once; return whether it survives."""
        starts = Starts(self.limit, 8)
        starts.start(P, self.committed, self.end, self.record)
        self.record = starts.at(P, self.committed)
        while self.committed < self.end:
            size = 1 if starts.is_careful else window
            events = range(self.committed, min(self.end, self.committed + size))
            if starts.is_careful:
                starts.try_alone(P, events[0])
                self.record = starts.at(P, self.committed)
            suspects = [n for n in events if (P, n) in starts.suspects]
            if self.harmful.intersection(events) - set(suspects):
                return False
            self.set_aside += suspects
            self.finished += [n for n in events if n not in suspects]
            self.committed = events[-1] + 1
            if starts.is_careful:
                starts.end_attempt(P, self.committed)
            self.record = starts.at(P, self.committed)
        return True


@given(
    end=st.integers(1, 30),
    harmful=st.sets(st.integers(0, 29), max_size=4),
    limit=st.integers(1, 4),
    window=st.integers(1, 9),
)
def test_harmful_events_are_set_aside_and_all_others_finished(
    end: int, harmful: set[int], limit: int, window: int
) -> None:
    harmful = {n for n in harmful if n < end}
    group = Group(end, harmful, limit)
    runs = 1
    while not group.run(window):
        runs += 1
        assert runs <= (limit + 2) * (len(harmful) + 1)
    assert sorted(group.set_aside) == sorted(harmful)
    assert group.finished == [n for n in range(end) if n not in harmful]
    assert group.record == StartRecord()


def test_a_worker_is_careful_after_three_starts_in_vain() -> None:
    group = Group(10, {2})
    assert [group.run(), group.run(), group.run()] == [False] * 3
    assert group.record == StartRecord(3)
    assert not group.run()
    assert group.record == StartRecord(0, 8, 2)  # progress was made until the attempt
    assert group.run()
    assert group.set_aside == [2]


def test_without_a_limit_nothing_is_recorded() -> None:
    starts = Starts(0)
    starts.start(P, 0, 9, StartRecord(9, 9, 0))
    assert (starts.at(P, 0), starts.suspects) == (StartRecord(), set())


def test_a_start_without_events_does_not_count() -> None:
    starts = Starts(3)
    starts.start(P, 5, 5, StartRecord(1))
    assert starts.at(P, 5) == StartRecord()


def test_reading_again_counts_once() -> None:
    starts = Starts(3)
    starts.start(P, 5, 9, StartRecord())
    starts.start(P, 5, 9, starts.at(P, 5))
    assert starts.at(P, 5) == StartRecord(1)
    starts.forget(P)
    starts.start(P, 0, 9, StartRecord())  # the log was reset
    assert starts.at(P, 0) == StartRecord(1)


@pytest.mark.parametrize("found", [StartRecord(), StartRecord(2), StartRecord(3)])
def test_an_end_in_order_does_not_count(found: StartRecord) -> None:
    starts = Starts(3, span=100)
    starts.start(P, 5, 9, found)
    careful_to = 9 if found.starts == 3 else 0
    if careful_to:
        starts.try_alone(P, 5)
    starts.take_back()
    assert starts.at(P, 5) == StartRecord(found.starts, careful_to)


def test_events_of_another_partition_are_tried_alone_too() -> None:
    starts = Starts(3)
    starts.start(P, 5, 9, StartRecord(3))
    starts.start(Q, 2, 2, StartRecord())
    assert starts.is_careful
    starts.try_alone(Q, 2)
    assert starts.at(Q, 2) == StartRecord(trying=2)
    starts.end_attempt(Q, 3)
    assert starts.at(Q, 3) == StartRecord()
    assert starts.careful() == {P: (5, 6)}
