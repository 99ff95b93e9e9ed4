"""The last flushes of a worker are kept, within a bound on their memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from app.telemetry.recent.flushes import (
    EVENTS,
    EVENTS_OF_A_FLUSH,
    FLUSHES,
    EventResult,
    FlushedEvent,
    FlushResult,
    RecentFlush,
    RecentFlushes,
)


def flush(name: str, **fields: Any) -> RecentFlush:
    given: dict[str, Any] = {
        "batch_id": name,
        "started_at": 1.0,
        "lane": 0,
        "result": FlushResult.WRITTEN,
        "events": 1,
        "datasets": 1,
        "inserted": 1,
        "already_there": 0,
        "dead_letters": 0,
        "postponed": 0,
        "bytes": 10,
        "seconds": 0.1,
        "step_seconds": {"write": 0.1},
        "max_latency": 0.5,
    }
    return RecentFlush(**given | fields)


def event(offset: int, result: EventResult = EventResult.WRITTEN) -> FlushedEvent:
    return FlushedEvent.of(("t", 0, offset), 10, result, runs={"run": 2})


def test_the_oldest_flush_is_forgotten_at_the_bound() -> None:
    recent = RecentFlushes()
    for number in range(FLUSHES + 3):
        recent.add(flush(str(number)), [event(number)])
    found = [each.batch_id for each in recent.newest_first()]
    assert found == [str(number) for number in range(FLUSHES + 2, 2, -1)]
    assert recent.detail("2") is None
    (kept,) = recent.detail("3").events  # type: ignore[union-attr]
    assert (kept.offset, kept.datasets, kept.runs) == (3, 2, ("run",))


def test_events_of_the_oldest_flushes_are_forgotten_before_the_flushes() -> None:
    recent = RecentFlushes()
    flushes = EVENTS // EVENTS_OF_A_FLUSH + 1
    for number in range(flushes):
        recent.add(flush(str(number)), map(event, range(EVENTS_OF_A_FLUSH)))
    kept = [len(recent.detail(str(n)).events) for n in range(flushes)]  # type: ignore[union-attr]
    assert kept == [0] + [EVENTS_OF_A_FLUSH] * (flushes - 1)
    assert len(recent.newest_first()) == flushes


def test_of_very_many_events_those_that_were_set_aside_are_kept() -> None:
    recent = RecentFlushes()
    bad = event(10**6, EventResult.SET_ASIDE)
    recent.add(flush("large"), [*map(event, range(EVENTS_OF_A_FLUSH)), bad])
    kept = recent.detail("large").events  # type: ignore[union-attr]
    assert kept[0] is bad
    assert len(kept) == EVENTS_OF_A_FLUSH


def test_the_last_flush_of_a_batch_is_shown() -> None:
    recent = RecentFlushes()
    recent.add(flush("same", result=FlushResult.ABANDONED), [])
    recent.add(flush("same"), [])
    assert recent.detail("same").flush.result is FlushResult.WRITTEN  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["written", "set aside"])
def test_the_memory_is_bounded_whatever_the_events_hold(kind: str) -> None:
    recent = RecentFlushes()
    tracemalloc.start()
    try:
        for number in range(2 * FLUSHES):
            events = [worst(kind, number, offset) for offset in range(50)]
            recent.add(flush(f"{number:036}"), events)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 12e6


def worst(kind: str, number: int, offset: int) -> FlushedEvent:
    message = ("t", 0, 10**12 + number * 1000 + offset)
    if kind == "written":
        runs = {f"{message}{n}" + "r" * 10_000: 10**6 for n in range(10)}
        return FlushedEvent.of(message, 10**7, EventResult.WRITTEN, runs=runs)
    rejection = ("conflict", f"{message}" + "r" * 10_000)
    return FlushedEvent.of(message, 10**7, EventResult.SET_ASIDE, rejection=rejection)
