"""What a careful worker records, and that it runs without a record (rule no-endless-retries)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import faust
import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
)
from faust.types import TP
from structlog.testing import capture_logs

from app.intake.starts import StartRecord, Starts
from app.intake.windows import WindowBounds
from app.kafka.errors import KafkaError
from app.kafka.positions import careful_reading
from app.kafka.positions.careful_reading import CarefulReading
from app.parts import new_intake

P = ("pp-output", 0)


class Scene:
    """A worker that reads a partition, and what it commits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, found: StartRecord) -> None:
        self.commits: list[tuple[int, StartRecord]] = []
        self.errors: list[KafkaError] = []
        self.starts = Starts(3, 10)
        self.intake = new_intake(WindowBounds(1.0, 500, 10**6), 10**6)
        self.starts.start(P, 5, 9, found)
        self.intake.start_at({P: 5})
        self.careful = CarefulReading(cast("faust.App", None), self.intake, self.starts)
        monkeypatch.setattr(careful_reading, "commit_evidence", self.commit)

    async def commit(self, _app: Any, offsets: Mapping[TP, int]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        for tp, offset in offsets.items():
            self.commits.append((offset, self.starts.at((tp.topic, tp.partition), offset)))


@pytest.mark.parametrize("error", [GroupAuthorizationFailedError, OffsetMetadataTooLargeError])
async def test_without_a_record_the_worker_says_so_once_and_is_not_careful(
    monkeypatch: pytest.MonkeyPatch, error: type[KafkaError]
) -> None:
    scene = Scene(monkeypatch, StartRecord(3))
    scene.errors = [error()]
    with capture_logs() as logs:
        await scene.careful.record_starts()
        await scene.careful.begin(P, 5)
        await scene.careful.take_back()
    assert [each["event"] for each in logs if each["log_level"] == "warning"][:1] == [
        "starts cannot be recorded: an event that ends its workers will not be found out"
    ]
    assert sum("cannot be recorded" in each["event"] for each in logs) == 1
    assert not scene.careful.is_on
    assert scene.commits == []


async def test_a_commit_that_fails_for_a_moment_is_no_reason_to_give_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch, StartRecord(3))
    scene.errors = [RebalanceInProgressError()]
    await scene.careful.record_starts()
    assert scene.careful.is_on
    await scene.careful.begin(P, 5)
    assert scene.commits == [(5, StartRecord(4, 9, 5))]


async def test_an_attempt_is_recorded_before_it_is_made_and_when_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch, StartRecord(3))
    await scene.careful.begin(P, 5)
    _, entry = scene.intake.receive(P, 5, 10, lambda: None)
    assert entry is not None
    scene.intake.ledger.settle([entry])
    await scene.careful.end()
    assert scene.commits == [(5, StartRecord(4, 9, 5)), (6, StartRecord(0, 9))]


async def test_revoked_partitions_take_their_start_back(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, StartRecord(1))
    await scene.careful.record_starts()
    await scene.careful.revoke()
    assert scene.commits == [(5, StartRecord(2)), (5, StartRecord(1))]
    assert scene.starts.partitions == []


async def test_a_worker_that_is_not_careful_records_no_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch, StartRecord(2))
    await scene.careful.begin(P, 5)
    await scene.careful.end()
    assert scene.commits == []
