"""The range of offsets that an audit covers, and what it says of an event."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from app.butler.events.limits import EventLimits
from app.kafka.readers import Message, MessageId
from app.operations import audit
from app.operations.audit import Finding, _Judge
from app.operations.audit_range import AuditRange, OffsetRanges
from app.operations.event_presence import GivenEvent

if TYPE_CHECKING:
    from app.kafka.readers import TopicReader

EARLY = datetime(2026, 11, 23, 22, tzinfo=UTC)
LATE = datetime(2026, 11, 24, 6, tzinfo=UTC)


class TwoPartitions:
    """Replaces a reader; partition 1 has no message at or after `LATE`."""

    async def first_offsets(self) -> dict[int, int]:
        return {0: 10, 1: 0}

    async def end_offsets(self) -> dict[int, int]:
        return {0: 100, 1: 50}

    async def offsets_at(self, time: datetime) -> dict[int, int]:
        return {EARLY: {0: 20, 1: 5}, LATE: {0: 90}}[time]


@pytest.mark.parametrize(
    ("audit_range", "bounds"),
    [
        (AuditRange(), {0: (10, 100), 1: (0, 50)}),
        (AuditRange(since=EARLY), {0: (20, 100), 1: (5, 50)}),
        (AuditRange(until=EARLY), {0: (10, 20), 1: (0, 5)}),
        (AuditRange(since=EARLY, until=LATE), {0: (20, 90), 1: (5, 50)}),
        (AuditRange(since=LATE), {0: (90, 100), 1: (50, 50)}),
        (AuditRange(since=EARLY, last=30), {0: (20, 31), 1: (5, 31)}),
        (AuditRange(first=60), {0: (60, 100), 1: (50, 50)}),
        (AuditRange(first=30, until=EARLY), {0: (30, 30), 1: (30, 30)}),
        (AuditRange(last=4), {0: (10, 10), 1: (0, 5)}),
    ],
)
async def test_a_range_is_bounded_by_times_offsets_and_the_partitions(
    audit_range: AuditRange, bounds: dict[int, tuple[int, int]]
) -> None:
    assert await audit_range.bounds(cast("TopicReader", TwoPartitions())) == bounds


async def test_a_known_range_ends_where_the_log_ends() -> None:
    """A log that went back ends below its committed offset."""
    known = OffsetRanges({0: (20, 1000), 1: (60, 70)})
    bounds = await known.bounds(cast("TopicReader", TwoPartitions()))
    assert bounds == {0: (20, 100), 1: (50, 50)}


def test_a_letter_says_nothing_of_an_event_that_it_does_not_have() -> None:
    """Whoever forges one could otherwise hide that an event is missing."""
    event = Message(0, 5, 0, None, b"no event", {})
    presence: Any = NoDataset()
    findings = [
        _Judge(presence, {MessageId(0, 5): {digest: ("0-1", "why")}}, {0: 6}, None).audit([event])
        for digest in (hashlib.sha256(b"no event").hexdigest(), hashlib.sha256(b"x").hexdigest())
    ]
    assert [found.finding for (found,) in findings] == [Finding.DEAD_LETTER, Finding.MISSING]


class NoDataset:
    """Replaces the look into a repository that has no dataset."""

    def registered(self, given: Any) -> Any:
        assert [*given] == []
        return SimpleNamespace(has=None)

    def readable(self, dataset_ids: Any) -> set[str]:
        assert not dataset_ids
        return set()


def test_a_harmful_event_is_a_dead_letter_or_pending_and_never_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Offset 5 has a letter; 7 is a replay that is finished, and 9 one that is not."""
    presence: Any = NoDataset()
    digest = hashlib.sha256(b"harmful").hexdigest()
    named = ("0-1", "workers have ended")
    letters = {MessageId(0, 5): {digest: named}}
    decoded: list[bytes | None] = []

    def datasets_of(value: bytes | None, limits: EventLimits) -> GivenEvent:
        decoded.append(value)
        return GivenEvent()

    monkeypatch.setattr(audit, "datasets_of", datasets_of)
    judge = _Judge(presence, letters, {0: 9}, None, harmful={digest: named})
    values = {5: b"harmful", 6: b"other", 7: b"harmful", 9: b"harmful"}
    found = judge.audit([Message(0, n, 0, None, value, {}) for n, value in values.items()])
    assert [each.finding for each in found] == [
        Finding.DEAD_LETTER,
        Finding.MISSING,
        Finding.DEAD_LETTER,
        Finding.PENDING,
    ]
    assert [(each.letter, each.reason) for each in found] == [named, ("", ""), named, ("", "")]
    assert decoded == [b"other"]
