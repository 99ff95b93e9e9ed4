"""The oldest pending event of each partition, whether its worker says so or not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.intake.log_range import LogRange
from app.kafka.group.members import Group
from app.kafka.group.observer import GroupLook
from app.kafka.group.pending import FirstPending
from app.operations.pages.documents import WorkerDocument
from app.operations.pages.overview import Standstill, partition_documents, unsaid
from tests.unit.web.documents import NOW, worker

LOOK = GroupLook(Group("g", "Stable", "faust"), {0: 10}, {0: LogRange(0, 15)}, {0: 15})
DEAD = worker(no_answer="It is away.", state=None)


def says(oldest: float | None, **fields: Any) -> WorkerDocument:
    found = worker(**fields)
    assert found.state is not None
    return replace(found, state=replace(found.state, oldest_pending={"t-0": oldest}))


@pytest.mark.parametrize(
    ("workers", "seconds", "is_asked"),
    [
        ([], 0.0, True),
        ([DEAD], 0.0, True),
        ([says(NOW)], 60.0, False),
        ([says(None)], 1.0, False),
        ([says(None)], 6.0, True),
    ],
    ids=["no worker", "no answer", "it says so", "not committed yet", "nothing is fetched"],
)
def test_kafka_is_asked_if_the_worker_does_not_say(
    workers: list[WorkerDocument], seconds: float, is_asked: bool
) -> None:
    assert unsaid(LOOK, "t", workers, {0: seconds}) == ({0: (10, 15)} if is_asked else {})


def test_kafka_is_not_asked_without_lag() -> None:
    done = replace(LOOK, committed={0: 15})
    assert unsaid(done, "t", [DEAD], {0: 60.0}) == {}


def test_what_kafka_says_is_shown_if_the_worker_does_not_say() -> None:
    found = {0: FirstPending(10, 15, NOW - 100)}
    (shown,) = partition_documents(LOOK, "t", [DEAD], found)
    assert (shown.lag, shown.oldest_pending) == (5, NOW - 100)
    (shown,) = partition_documents(LOOK, "t", [says(NOW - 7)], found)
    assert shown.oldest_pending == NOW - 7


def test_markers_of_transactions_are_no_lag() -> None:
    (shown,) = partition_documents(LOOK, "t", [DEAD], {0: FirstPending(10, 15, None)})
    assert (shown.lag, shown.oldest_pending) == (0, None)


def test_a_standstill_ends_when_the_offset_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    standstill = Standstill()
    assert standstill.seconds({0: 5, 1: 5}) == {0: 0.0, 1: 0.0}
    now[0] = 107.0
    assert standstill.seconds({0: 5, 1: 6}) == {0: 7.0, 1: 0.0}
    assert standstill.seconds({1: 6}) == {1: 0.0}
    assert standstill.seconds({0: 5}) == {0: 0.0}
