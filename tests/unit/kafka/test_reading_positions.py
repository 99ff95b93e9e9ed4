"""Where reading starts, as the brokers tell it (rule no-gaps-in-offsets)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from app.intake.evidence import CommitEvidence, ReadEvidence
from app.intake.suspects import Suspects
from app.intake.windows import WindowBounds
from app.kafka.connection import KafkaConnection
from app.kafka.errors import KafkaError
from app.kafka.positions import reading_positions
from app.kafka.positions.reading_positions import ReadingPositions
from app.parts import new_intake
from app.telemetry import metrics
from app.telemetry.status import Status

P = TP("pp-output", 0)


class Group:
    """A consumer of one partition, and the group's committed offset."""

    def __init__(self, committed: int | None, first: int, end: int) -> None:
        self.committed, self.first, self.end = committed, first, end
        self.position: int | None = None
        self.failures = 0
        self._thread = SimpleNamespace(committed={}, commit=self.commit, last_seen={})
        self._acked: dict[TP, list[int]] = {P: [7]}
        self._acked_index: dict[TP, set[int]] = {P: {7}}
        self._gap: dict[TP, object] = {}
        self._committed_offset: dict[TP, int | None] = {P: committed}

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        self.committed = offsets[P]
        self._thread.committed.update(offsets)
        return True

    def stop_flow(self) -> None:
        """Nothing flows here."""

    def assignment(self) -> set[TP]:
        return {P}

    async def seek_to_committed(self) -> dict[TP, int | None]:
        if self.failures:
            self.failures -= 1
            raise KafkaError("no broker")
        return {P: self.committed}

    async def earliest_offsets(self, *_: TP) -> dict[TP, int]:
        return {P: self.first}

    async def highwaters(self, *_: TP) -> dict[TP, int]:
        return {P: self.end}

    async def maybe_wait_for_commit_to_finish(self) -> bool:
        return False

    async def seek_wait(self, positions: Mapping[TP, int]) -> None:
        self.position = positions[P]


class Reader:
    """Positions of an application whose consumer is a `Group`."""

    def __init__(self, group: Group) -> None:
        self.status = Status()
        self.intake = new_intake(WindowBounds(1.0, 500, 1000), 1000)
        monitor = SimpleNamespace(on_tp_commit=lambda _: None)
        app: Any = SimpleNamespace(consumer=group, monitor=monitor, should_stop=False)
        self.evidence = ReadEvidence()
        self.topic_id: str | None = None
        topic: Any = SimpleNamespace(ask=self.ask)
        self.positions = ReadingPositions(
            app,
            self.intake,
            self.status,
            Suspects(),
            self.evidence,
            topic_id=topic,
            connection=KafkaConnection(cluster="", brokers=(), group="group"),
            topic=P.topic,
        )

    async def ask(self) -> str | None:
        """Return the topic's id, as the brokers do."""
        return self.topic_id

    def start(self) -> int:
        """Start reading; return the offset that the ledger expects."""
        self.intake.revoke()
        assert asyncio.run(self.positions.start())
        return self.intake.ledger.state()[P.topic, P.partition]["expected"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_positions, "FETCH_DRAIN_SECONDS", 0)
    monkeypatch.setattr(reading_positions, "RETRY_SECONDS", 0)
    monkeypatch.setattr(reading_positions, "committed_evidence", commits_tell_nothing)


async def commits_tell_nothing(*_: object) -> dict[TP, CommitEvidence]:
    return {}


@pytest.mark.parametrize("committed", [0, 3, 9])
def test_reading_starts_at_a_committed_offset_that_the_log_holds(committed: int) -> None:
    group = Group(committed, first=0, end=9)
    assert Reader(group).start() == group.position == committed
    assert group._acked == {P: [7]}


def test_reading_starts_at_the_first_offset_without_a_committed_one() -> None:
    group = Group(None, first=4, end=9)
    assert Reader(group).start() == group.position == 4


def test_a_committed_offset_below_the_log_starts_the_partition_anew() -> None:
    group = Group(3, first=5, end=9)
    lost = metrics.LOST_MESSAGES._value.get()
    assert Reader(group).start() == group.position == group.committed == 5
    assert metrics.LOST_MESSAGES._value.get() == lost + 2
    assert group._acked == {}
    assert group._committed_offset == {P: 5}


def test_a_position_that_was_refused_starts_the_partition_anew() -> None:
    """Even though the log has grown beyond the committed offset since."""
    group = Group(7, first=0, end=9)
    reader = Reader(group)
    assert reader.start() == 7
    reader.intake.ledger.fetches.note_reset((P.topic, P.partition))
    assert reader.intake.drop_reset()
    lost = metrics.LOST_MESSAGES._value.get()
    assert asyncio.run(reader.positions.start())
    assert group.position == group.committed == 0
    assert reader.status.resets == []
    assert metrics.LOST_MESSAGES._value.get() == lost, "the log went back: it has dropped nothing"


def test_a_committed_offset_that_has_vanished_is_a_reset_but_0_is_not() -> None:
    """The brokers drop a group's offsets together with the topic."""
    group = Group(7, first=0, end=9)
    reader = Reader(group)
    asyncio.run(group.commit({P: 0}))
    before = metrics.LOG_RESETS._value.get()
    reader.start()
    assert metrics.LOG_RESETS._value.get() == before
    group.committed = None
    reader.start()
    assert metrics.LOG_RESETS._value.get() == before + 1


def test_offsets_are_looked_up_again_until_the_brokers_answer() -> None:
    group = Group(3, first=0, end=9)
    group.failures = 3
    assert Reader(group).start() == 3


@pytest.mark.parametrize(
    ("committed", "found", "start"),
    [("a", "a", 7), ("a", "b", 0), ("a", None, 7), (None, "b", 7), (None, None, 7)],
)
def test_a_commit_of_a_topic_with_another_id_starts_the_partition_anew(
    monkeypatch: pytest.MonkeyPatch, committed: str | None, found: str | None, start: int
) -> None:
    """The topic was made again, under a worker that then read on and committed."""

    async def evidence(*_: object) -> dict[TP, CommitEvidence]:
        return {P: CommitEvidence(topic_id=committed)}

    monkeypatch.setattr(reading_positions, "committed_evidence", evidence)
    reader = Reader(Group(7, first=0, end=9))
    reader.topic_id = found
    assert reader.start() == start
    assert reader.evidence.topic_id == found
