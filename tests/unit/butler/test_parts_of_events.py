"""What is left of an event of which some artifacts are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from lsst.daf.butler import DataCoordinate, DatasetRef, DatasetType, DimensionUniverse

from app.butler.commit.division import Counts
from app.butler.commit.isolation import Turn
from app.butler.commit.window import WindowCommit
from app.butler.events.parsed import Artifact, ParsedEvent
from app.butler.failures import RetryableError
from app.butler.insert.batch import RefusedEventsError
from app.butler.outcome import Rejection
from app.butler.policy import WritePolicy
from app.butler.sessions.limits import Limits
from models.causes import Cause

EMPTY = DataCoordinate.make_empty(DimensionUniverse())
KIND = DatasetType("packages", EMPTY.dimensions, "StructuredDataDict")

CONFLICT = Rejection(Cause.CONFLICT, "taken")


def ids(*numbers: int) -> list[UUID]:
    return [UUID(int=number) for number in numbers]


def artifact(path: str, *numbers: int) -> Artifact:
    refs = [DatasetRef(KIND, EMPTY, "run", id=dataset_id) for dataset_id in ids(*numbers)]
    return Artifact(path, "formatter", refs, {})


def event(*, is_divisible: bool = True) -> ParsedEvent:
    artifacts = [artifact("a", 1, 2), artifact("b", 3), artifact("a", 4)]
    return ParsedEvent({}, artifacts, (), is_divisible=is_divisible)


def test_an_artifact_is_left_out_with_all_its_members() -> None:
    left = event().without(["a"], CONFLICT)
    assert left is not None
    assert [ref.id for ref in left.refs] == ids(3)
    assert left.left_out == CONFLICT


def test_the_first_cause_counts_and_all_reasons_are_told() -> None:
    first = event().without(["b"], Rejection(Cause.MISSING_SOURCE_FILE, "gone"))
    assert first is not None
    assert first.without(["a"], CONFLICT) is None  # nothing would be left
    three = ParsedEvent({}, [*event().artifacts, artifact("c", 5)], (), is_divisible=True)
    once = three.without(["b"], Rejection(Cause.MISSING_SOURCE_FILE, "gone"))
    assert once is not None
    twice = once.without(["c"], CONFLICT)
    assert twice is not None
    assert twice.left_out == Rejection(Cause.MISSING_SOURCE_FILE, "gone; taken")


def test_what_cannot_be_left_out_refuses_the_event() -> None:
    assert event().without(["a", "b"], CONFLICT) is None
    assert event().without([], CONFLICT) is None
    assert event(is_divisible=False).without(["a"], CONFLICT) is None


def test_an_event_with_only_some_of_its_datasets() -> None:
    left = event().only(ids(2, 3))
    assert [(part.path, [ref.id for ref in part.refs]) for part in left.artifacts] == [
        ("a", ids(2)),
        ("b", ids(3)),
    ]


class Repository:
    """Refuses the artifact ``a``, and cannot take the rest now."""

    is_outdated = False

    def write(self, events: Sequence[ParsedEvent], limits: Limits | None = None) -> Counts:
        for each in events:
            if any(part.path == "a" for part in each.artifacts):
                raise RefusedEventsError({each: CONFLICT}, {each: {"a"}})
        raise RetryableError("locked")

    def forget(self) -> None: ...

    def check_repository(self) -> None: ...


class Overlaps:
    def turns(self, events: Sequence[ParsedEvent]) -> list[Sequence[ParsedEvent]]:
        return [events]


def test_what_is_left_of_an_event_and_cannot_be_written_now_is_postponed() -> None:
    repository: Any = Repository()
    overlaps: Any = Overlaps()
    commit = WindowCommit(repository, repository, overlaps, WritePolicy())
    report, written = commit.run({0: event()}, Turn(is_repeated=True), lambda: True)
    assert written == []
    assert report.outcomes == {}
    assert [postponed.keys for postponed in report.postponed] == [(0,)]
