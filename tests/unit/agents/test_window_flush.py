"""The flush of one window, with parts of the tests: a writer, a chain keeper and a sender.

The parts take the place of the Butler and of Kafka; the integration tests use the real ones.
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import orjson
import pytest

from agents.decoded_events import decode
from agents.window_flush import WindowFlush
from app.announce.product_log import ProductLog
from app.butler.commit.isolation import Turn
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import RetryableError
from app.butler.outcome import Outcome, Postponed, Rejection, WriteReport, Written
from app.butler.products.contents import SerializedEvents, WrittenProducts
from app.butler.products.needed_records import Needs
from app.butler.products.window_files import ProductFiles, Section
from app.butler.repository.chains import ChainKeeper, Position
from app.butler.sessions.look import DatabaseLook
from app.butler.writer import ButlerWriter
from app.intake.received import Received
from app.intake.windows import WindowBounds
from app.kafka.errors import KafkaError, MessageSizeTooLargeError
from app.kafka.sending import OutputTopic
from app.parts import Lane, Parts, new_intake
from app.telemetry.flush_reports import FlushReports
from app.telemetry.status import Status
from models.causes import Cause
from models.errors import CausedError, InvalidEventError
from models.prompt_output import PromptOutput

PARTITION = ("pp-output", 0)
CHAIN, RUN = "chain", "run"
DATASET = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
WRITTEN = Written((DATASET,), {RUN: 1}, ((CHAIN, RUN),))
ELSEWHERE = Written((DATASET,), {RUN: 1}, (("other chain", RUN),))
CONFLICT = Rejection(Cause.CONFLICT, "another dataset has this data ID")
UNOBSERVED = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
PARTLY = Written((DATASET, UNOBSERVED), {RUN: 2}, ((CHAIN, RUN),), unobserved=(UNOBSERVED,))
WHOLLY = Written((UNOBSERVED,), {RUN: 1}, ((CHAIN, RUN),), unobserved=(UNOBSERVED,))
LARGEST = 1000


def event(**fields: Any) -> bytes:
    return orjson.dumps({"type": "pp-output", "dimension_records": [], "datasets": [], **fields})


NO_POSITIONS: Mapping[tuple[str, str], Position] = {}


class Writer:
    """Rejects the events that say so, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.prepared: list[list[str | None]] = []
        self.turns: list[Turn] = []

    def prepare(
        self, events: Mapping[Any, PromptOutput], *, is_current: Callable[[], bool], turn: Turn
    ) -> Any:
        outputs = dict(events.items())
        self.prepared.append([output.event_id for output in outputs.values()])
        return outputs

    def commit(
        self, prepared: Mapping[Any, PromptOutput], *, is_current: Callable[[], bool], turn: Turn
    ) -> WriteReport[Any]:
        if self.failures:
            raise self.failures.pop(0)
        special: dict[str, Outcome] = {
            "bad": CONFLICT,
            "other": ELSEWHERE,
            "partly": PARTLY,
            "wholly": WHOLLY,
        }
        outcomes: dict[Any, Outcome] = {
            key: special.get(output.event_id or "", WRITTEN)
            for key, output in prepared.items()
            if output.event_id != "slow"
        }
        slow = [Postponed((key,), "too slow", confirmed=1) for key in prepared.keys() - outcomes]
        self.turns.append(turn)
        return WriteReport(outcomes, inserted=WRITTEN in outcomes.values(), postponed=slow)


class Chains:
    """Refuses the pairs that it was given."""

    def __init__(self) -> None:
        self.refused: dict[tuple[str, str], Rejection] = {}
        self.busy: set[tuple[str, str]] = set()

    def ensure(
        self,
        pairs: Iterable[tuple[str, str]],
        held_up: dict[tuple[str, str], str] | None = None,
        positions: Mapping[tuple[str, str], Position] = NO_POSITIONS,
    ) -> dict[tuple[str, str], Rejection]:
        pairs = list(pairs)
        if found := self.busy.intersection(pairs):
            if held_up is None:
                raise RetryableError("a chain is locked")
            held_up.update(dict.fromkeys(found, "a chain is locked"))
        return {pair: self.refused[pair] for pair in pairs if pair in self.refused}


class Topics:
    """Keeps what is sent, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[OutputTopic, bytes, Mapping[str, bytes]]] = []
        self.failures: dict[OutputTopic, list[Exception]] = {}

    async def send(
        self,
        topic: OutputTopic,
        *,
        value: bytes,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        if failures := self.failures.get(topic):
            raise failures.pop(0)
        self.sent.append((topic, value, headers or {}))

    def causes(self) -> list[bytes]:
        return [headers["error_class"] for _, _, headers in self.sent if headers]

    def topics(self) -> list[OutputTopic]:
        return [topic for topic, _, _ in self.sent]


class Scene:
    """A window of events, and the parts for its flush."""

    def __init__(self, lists: Path) -> None:
        self.writer, self.chains, self.topics = Writer(), Chains(), Topics()
        self.status = Status()
        self.acked: list[int] = []
        self.lists = lists
        self.parts = Parts(
            intake=new_intake(WindowBounds(1.0, 500, 10**6), 10**6),
            lanes=[
                Lane(
                    writer=cast("ButlerWriter", self.writer),
                    chain_keeper=cast("ChainKeeper", self.chains),
                    reports=FlushReports(self.status, 0),
                )
            ],
            sender=self.topics,
            product_log=ProductLog(LARGEST),
            database_look=cast("DatabaseLook", None),  # no flush asks it
            list_directory=str(lists),
            max_event_bytes=LARGEST,
            retry_wait_max=0.01,
        )
        self.parts.intake.start_at({PARTITION: 0})

    def flush(self, *messages: Received | bytes | None, first: int = 0) -> WindowFlush:
        """Receive messages in one window, the first one at an offset, and return its flush."""
        intake = self.parts.intake
        for offset, message in enumerate(messages, first):
            received = message if isinstance(message, Received) else Received(None, message)
            ack = partial(self.acked.append, offset)
            _, entry = intake.receive(PARTITION, offset, 10, ack)
            assert entry is not None
            intake.add(entry, received, now=0.0)
        (window,) = intake.close()
        return WindowFlush(window, self.parts, self.parts.lanes[0])

    def run(self, *messages: Received | bytes | None) -> WindowFlush:
        flush = self.flush(*messages)
        assert asyncio.run(flush.run())
        return flush

    def listed(self) -> list[list[str]]:
        return [json.loads(file.read_bytes())["datasets"] for file in self.lists.iterdir()]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with closing_threads(Scene(tmp_path)) as scene:
        yield scene


@contextmanager
def closing_threads(scene: Scene) -> Iterator[Scene]:
    try:
        yield scene
    finally:
        scene.parts.shut_down()


def test_a_written_window_is_announced_and_acked(scene: Scene) -> None:
    scene.run(event(event_id="a"), event(event_id="b"))
    assert scene.topics.topics() == [OutputTopic.BATCHES_INGESTED, OutputTopic.CHAIN_UPDATES]
    assert scene.listed() == [[str(DATASET)]]
    assert scene.acked == [0, 1]
    assert scene.status.last_flush["events"] == 2
    assert scene.status.last_flush["dead_letters"] == 0


def test_a_flush_is_kept_with_what_became_of_each_event(scene: Scene) -> None:
    scene.run(event(event_id="a"), event(event_id="bad"), b"no event")
    (flush,) = scene.status.recent.newest_first()
    assert (flush.result, flush.events, flush.dead_letters) == ("written", 3, 2)
    detail = scene.status.recent.detail(flush.batch_id)
    assert detail is not None
    found = [(each.topic, each.partition, each.offset, each.result) for each in detail.events]
    assert found == [
        (*PARTITION, 1, "set aside"),
        (*PARTITION, 2, "set aside"),
        (*PARTITION, 0, "written"),
    ]
    assert [each.cause for each in detail.events] == ["conflict", "invalid_event", None]
    assert detail.events[0].reason == CONFLICT.reason
    assert detail.events[2].runs == (RUN,)
    totals = scene.status.activity.totals
    assert (totals.flushes, totals.events, totals.dead_letters) == (1, 3, 2)
    assert sum(scene.status.activity.minute().latencies.values()) == 3


def test_an_abandoned_flush_is_kept_and_counts_as_nothing_written(scene: Scene) -> None:
    flush = scene.flush(event(event_id="a"))
    scene.parts.intake.revoke()
    assert not asyncio.run(flush.run())
    (kept,) = scene.status.recent.newest_first()
    assert (kept.result, kept.events, kept.datasets) == ("abandoned", 1, 0)
    (detail,) = scene.status.recent.detail(kept.batch_id).events  # type: ignore[union-attr]
    assert detail.result == "abandoned"
    assert scene.status.activity.totals.events == 0


def test_a_flush_has_the_latency_of_its_own_events_whichever_flush_acks_them(
    scene: Scene,
) -> None:
    earlier = scene.flush(event(event_id="a"))
    later = scene.flush(event(event_id="b"), first=1)
    assert asyncio.run(later.run())
    (flush,) = scene.status.recent.newest_first()
    assert scene.acked == []
    assert flush.max_latency is not None
    assert asyncio.run(earlier.run())
    assert scene.acked == [0, 1]
    assert scene.status.last_flush["acked"] == 2


def test_the_latency_of_a_flush_that_was_abandoned_is_not_known(scene: Scene) -> None:
    flush = scene.flush(event(event_id="a"))
    scene.parts.intake.revoke()
    assert not asyncio.run(flush.run())
    assert [each.max_latency for each in scene.status.recent.newest_first()] == [None]


def test_a_dataset_that_several_events_bring_is_counted_once(scene: Scene) -> None:
    scene.run(event(event_id="a"), event(event_id="a"), event(event_id="bad"))
    flushed = scene.status.last_flush
    assert (flushed["datasets"], flushed["inserted"], flushed["already_there"]) == (1, 1, 0)


def test_each_event_has_its_own_outcome_in_the_order_of_arrival(scene: Scene) -> None:
    flush = scene.run(b"{", event(event_id="good"), event(event_id="bad"), None)
    outcomes = [flush.outcomes[arrival] for arrival in flush.window.arrivals]
    assert [
        outcome.cause if isinstance(outcome, Rejection) else outcome for outcome in outcomes
    ] == [Cause.INVALID_EVENT, WRITTEN, Cause.CONFLICT, Cause.INVALID_EVENT]
    assert scene.topics.causes() == [b"invalid_event", b"conflict", b"invalid_event"]
    assert scene.acked == [0, 1, 2, 3]


def test_a_dead_letter_carries_the_whole_message_and_the_number_of_its_replays(
    scene: Scene,
) -> None:
    scene.run(Received(b"key", b"no event", {"replays": b"2"}))
    ((topic, value, headers),) = scene.topics.sent
    assert (topic, value) == (OutputTopic.DEAD_LETTERS, b"no event")
    assert headers["replays"] == b"2"
    assert headers["offset"] == b"0"
    assert headers["reason"].startswith(b"not JSON")


def test_a_window_without_a_written_event_is_not_announced(scene: Scene) -> None:
    scene.run(b"{")
    assert scene.topics.topics() == [OutputTopic.DEAD_LETTERS]
    assert scene.listed() == []
    assert scene.acked == [0]


def test_datasets_that_were_not_observed_are_announced_unless_they_are_to_be_left_out(
    scene: Scene,
) -> None:
    scene.run(event(event_id="partly"))
    assert scene.listed() == [[str(DATASET), str(UNOBSERVED)]]


@pytest.mark.parametrize(
    ("event_id", "listed"), [("partly", [[str(DATASET)]]), ("a", [[str(DATASET)]]), ("wholly", [])]
)
def test_datasets_that_were_not_observed_are_left_out_of_the_list(
    scene: Scene, event_id: str, listed: list[list[str]]
) -> None:
    scene.parts = replace(scene.parts, announces_unobserved=False)
    scene.run(event(event_id=event_id))
    assert scene.listed() == listed
    announced = [OutputTopic.BATCHES_INGESTED] * len(listed)
    assert scene.topics.topics() == [*announced, OutputTopic.CHAIN_UPDATES]
    assert scene.acked == [0]


def test_a_write_that_fails_is_prepared_again_before_the_next_attempt(scene: Scene) -> None:
    scene.writer.failures = [RetryableError("the database is away")]
    scene.run(event(event_id="a"), b"{")
    assert scene.writer.prepared == [["a"], ["a"]]
    assert scene.topics.causes() == [b"invalid_event"]
    assert scene.acked == [0, 1]


def test_a_dead_letter_that_was_sent_is_not_sent_again_by_the_next_attempt(scene: Scene) -> None:
    flush = scene.flush(b"{", b"[")
    sends = 0
    send = scene.topics.send

    async def fail_at_the_second(*args: Any, **kwargs: Any) -> None:
        nonlocal sends
        sends += 1
        if sends == 2:
            raise OSError("the brokers are away")
        await send(*args, **kwargs)

    scene.topics.send = fail_at_the_second  # type: ignore[method-assign]

    assert asyncio.run(flush.run())
    offsets = [headers["offset"] for _, _, headers in scene.topics.sent]
    assert offsets == [b"0", b"1"]
    assert scene.acked == [0, 1]


def test_an_announcement_that_fails_is_sent_again_and_nothing_is_acked_before(
    scene: Scene,
) -> None:
    scene.topics.failures[OutputTopic.CHAIN_UPDATES] = [OSError("away"), OSError("away")]
    scene.run(event(event_id="a"))
    assert scene.topics.topics() == [
        *[OutputTopic.BATCHES_INGESTED] * 3,
        OutputTopic.CHAIN_UPDATES,
    ]
    assert scene.acked == [0]


def test_an_event_too_large_for_the_dead_letters_is_replaced_by_a_pointer(scene: Scene) -> None:
    scene.topics.failures[OutputTopic.DEAD_LETTERS] = [MessageSizeTooLargeError()]
    scene.run(b"x" * (LARGEST + 1))
    ((topic, value, headers),) = scene.topics.sent
    assert topic is OutputTopic.DEAD_LETTERS
    assert json.loads(value)["type"] == "dead-letter-pointer"
    assert headers["reason"] == (
        b"1001 bytes, more than the limit of 1000 (BUTLER_WRITER_KAFKA_MAX_MESSAGE_BYTES)"
    )


def test_an_event_with_a_long_key_is_replaced_by_a_pointer(scene: Scene) -> None:
    """To compute the letter's partition from it would hold the worker for seconds."""
    scene.run(Received(b"x" * 100_000, b"no event"), Received(b"x" * 1000, b"no event"))
    values = [value for _, value, _ in scene.topics.sent]
    assert json.loads(values[0])["type"] == "dead-letter-pointer"
    assert values[1] == b"no event"
    assert [headers["points"] for _, _, headers in scene.topics.sent] == [b"true", b"false"]


@pytest.mark.parametrize(
    ("cause", "points"), [(Cause.ENDS_WORKER, True), (Cause.UNDECODABLE_MESSAGE, False)]
)
def test_an_event_that_is_refused_is_set_aside_without_being_decoded(
    scene: Scene, cause: Cause, *, points: bool
) -> None:
    value = event(event_id="a")
    scene.run(Received(None, value, refused=CausedError(cause, "why")), event(event_id="b"))
    assert scene.writer.prepared == [["b"]]
    assert scene.topics.causes()[0] == cause.value.encode()
    topic, letter, headers = scene.topics.sent[0]
    assert (topic, headers["reason"]) == (OutputTopic.DEAD_LETTERS, b"why")
    assert (headers["points"] == b"true", letter != value) == (points, points)
    assert scene.acked == [0, 1]


def test_an_event_whose_run_cannot_be_in_its_chain_becomes_a_dead_letter(scene: Scene) -> None:
    scene.chains.refused = {(CHAIN, RUN): Rejection(Cause.WRONG_COLLECTION, "not a chain")}
    scene.run(event(event_id="a"))
    assert scene.topics.causes() == [b"wrong_collection"]
    assert scene.topics.topics() == [OutputTopic.DEAD_LETTERS]
    assert scene.acked == [0]


def test_a_postponed_event_is_not_acked_and_holds_up_no_other(scene: Scene) -> None:
    scene.run(event(event_id="a"), event(event_id="slow"), event(event_id="b"), b"{")
    assert scene.topics.causes() == [b"invalid_event"]
    assert scene.listed() == [[str(DATASET)]]
    assert scene.acked == [0]
    intake = scene.parts.intake
    assert intake.take(), "the first window was flushed without the sink"
    assert intake.put_back(math.inf)
    window = intake.take()
    assert window is not None
    assert asyncio.run(WindowFlush(window, scene.parts, scene.parts.lanes[0]).run())
    apart = Turn(is_repeated=True, is_apart=True, confirmed=1)
    assert scene.writer.turns == [Turn(), apart]
    assert intake.put_back(time.monotonic()) == [], "there must be a pause before the next attempt"
    assert intake.postponed == 1
    assert scene.acked == [0]


def test_an_event_whose_chain_is_locked_holds_up_no_other(scene: Scene) -> None:
    scene.chains.busy = {("other chain", RUN)}
    scene.run(event(event_id="other"), event(event_id="a"))
    assert scene.topics.topics() == [OutputTopic.BATCHES_INGESTED, OutputTopic.CHAIN_UPDATES]
    assert scene.parts.intake.postponed == 1
    assert scene.acked == [], "the event before it is not announced"


def test_a_window_whose_partitions_were_revoked_is_abandoned(scene: Scene) -> None:
    flush = scene.flush(event(event_id="a"))
    prepare = scene.writer.prepare

    def revoked_meanwhile(*args: Any, **kwargs: Any) -> Any:
        scene.parts.intake.revoke()
        return prepare(*args, **kwargs)

    scene.writer.prepare = revoked_meanwhile  # type: ignore[method-assign]
    assert not asyncio.run(flush.run())
    assert scene.topics.sent == []
    assert scene.acked == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"x" * (LARGEST + 1), "more than the limit"),
        (b"[" * LARGEST, "not JSON"),
        (b"\xff", "not JSON"),
        (None, "no value"),
    ],
)
def test_a_message_that_is_no_event_is_refused_with_a_reason(
    value: bytes | None, reason: str
) -> None:
    with pytest.raises(InvalidEventError, match=reason):
        decode(value, LARGEST)


def test_an_unexpected_error_of_the_decoder_is_the_messages_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(value: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(PromptOutput, "decode", fail)
    with pytest.raises(InvalidEventError, match="RecursionError: too deep"):
        decode(b"{}", LARGEST)


class LoggedWriter(Writer):
    """Writes every event, or all but the first one, and tells what the product log has of them."""

    def __init__(self) -> None:
        super().__init__()
        self.serialized: list[int] = []
        self.asked: list[int] = []
        self.products_failures: list[Exception] = []
        self.is_first_refused = False
        self.is_serializing = threading.Event()

    def prepare(self, events: Mapping[Any, PromptOutput], **_: Any) -> Any:
        return {key: ParsedEvent({}, [], ()) for key, _ in events.items()}

    def commit(self, prepared: Mapping[Any, Any], **_: Any) -> WriteReport[Any]:
        outcomes: dict[Any, Outcome] = dict.fromkeys(prepared, WRITTEN)
        if self.is_first_refused:
            outcomes[next(iter(prepared))] = Rejection(Cause.CONFLICT, "refused")
        return WriteReport(outcomes, inserted=1)

    def serialize_products(self, events: Sequence[ParsedEvent]) -> SerializedEvents:
        self.is_serializing.set()
        self.serialized.append(len(events))
        return SerializedEvents(events, [], {}, Needs())

    def products(self, serialized: SerializedEvents) -> WrittenProducts:
        self.asked.append(len(serialized.events))
        if self.products_failures:
            raise self.products_failures.pop(0)
        path = b'{"path":"%s"}' % (b"x" * 200_000)
        section = Section(RUN, "datastore", files=[ProductFiles(path, [], [])] * 4)
        return WrittenProducts(
            {"namespace": "daf_butler", "version": 8}, [section], {}, needed={}, records={}
        )


@pytest.fixture
def logged(scene: Scene) -> Scene:
    """A scene whose product log is on."""
    scene.writer = LoggedWriter()
    scene.parts = replace(
        scene.parts,
        lanes=[replace(scene.parts.lanes[0], writer=cast("ButlerWriter", scene.writer))],
        product_log=ProductLog(10_000_000, is_on=True),
    )
    return scene


def test_a_window_is_sent_to_the_product_log_and_announced(logged: Scene) -> None:
    flush = logged.run(event(), event())
    announced = [OutputTopic.BATCHES_INGESTED, OutputTopic.CHAIN_UPDATES]
    topics = logged.topics.topics()
    assert [topic for topic in topics if topic is not OutputTopic.PRODUCTS] == announced
    (value,) = [value for topic, value, _ in logged.topics.sent if topic is OutputTopic.PRODUCTS]
    message = orjson.loads(value)
    assert message["batch_id"] == str(flush.batch_id)
    assert (message["sequence"], message["records_in_batch"]) == (0, 1)
    writer = cast("LoggedWriter", logged.writer)
    assert (writer.serialized, writer.asked) == ([2], [2])
    assert logged.acked == [0, 1]


def test_the_product_log_is_made_while_the_window_is_written(logged: Scene) -> None:
    writer = cast("LoggedWriter", logged.writer)
    commit = writer.commit

    def committing(prepared: Mapping[Any, Any], **more: Any) -> WriteReport[Any]:
        assert writer.is_serializing.wait(20)
        assert writer.asked == []  # what is stored is asked for after the commit
        return commit(prepared, **more)

    writer.commit = committing  # type: ignore[method-assign]
    logged.run(event())
    assert (writer.serialized, writer.asked) == ([1], [1])


def test_an_event_that_cannot_be_written_is_not_in_the_product_log(logged: Scene) -> None:
    writer = cast("LoggedWriter", logged.writer)
    writer.is_first_refused = True
    logged.run(event(), event())
    assert (writer.serialized, writer.asked) == ([2, 1], [1])
    assert logged.acked == [0, 1]


def test_the_product_log_does_not_wait_for_the_announcement(logged: Scene) -> None:
    """But both come before the acknowledgement."""
    is_logged = asyncio.Event()
    send = logged.topics.send
    acked: list[list[int]] = []

    async def sending(topic: OutputTopic, **more: Any) -> None:
        if topic is OutputTopic.BATCHES_INGESTED:
            await asyncio.wait_for(is_logged.wait(), 20)
        await send(topic, **more)
        acked.append([*logged.acked])
        if topic is OutputTopic.PRODUCTS:
            is_logged.set()

    logged.topics.send = sending  # type: ignore[method-assign]
    logged.run(event())
    assert acked == [[]] * 3
    assert logged.acked == [0]


def test_no_step_runs_on_when_a_window_is_abandoned(logged: Scene) -> None:
    """Its announcement fails, and its message to the log is on the way."""
    flush = logged.flush(event())
    is_failed, is_sent = asyncio.Event(), asyncio.Event()

    async def sending(topic: OutputTopic, **_: Any) -> None:
        if topic is OutputTopic.BATCHES_INGESTED:
            logged.parts.intake.revoke()
            is_failed.set()
            raise KafkaError
        if topic is OutputTopic.PRODUCTS:
            await asyncio.wait_for(is_failed.wait(), 20)
            await asyncio.sleep(0)
            is_sent.set()

    logged.topics.send = sending  # type: ignore[method-assign]
    assert not asyncio.run(flush.run())
    assert is_sent.is_set()
    assert logged.acked == []


def test_no_event_is_acked_before_the_product_log_has_its_datasets(logged: Scene) -> None:
    """What was made of them is kept for the next attempt."""
    acked: list[list[int]] = []

    logged.topics.failures = {OutputTopic.PRODUCTS: [KafkaError(), KafkaError()]}
    cast("LoggedWriter", logged.writer).products_failures = [RetryableError("no answer")]
    send = logged.topics.send

    async def noting(topic: OutputTopic, **more: Any) -> None:
        acked.append([*logged.acked])
        await send(topic, **more)

    logged.topics.send = noting  # type: ignore[method-assign]
    logged.run(event())
    assert logged.acked == [0]
    assert acked == [[]] * 5
    assert logged.topics.topics().count(OutputTopic.PRODUCTS) == 1
    assert logged.topics.topics().count(OutputTopic.BATCHES_INGESTED) == 1
    assert cast("LoggedWriter", logged.writer).asked == [1, 1]


def test_a_window_is_divided_until_the_topic_takes_its_messages(logged: Scene) -> None:
    logged.topics.failures = {OutputTopic.PRODUCTS: [MessageSizeTooLargeError()]}
    logged.run(event())
    sent = [orjson.loads(v) for topic, v, _ in logged.topics.sent if topic is OutputTopic.PRODUCTS]
    assert [(m["sequence"], m["records_in_batch"]) for m in sent] == [(n, 4) for n in range(4)]
    assert logged.parts.product_log.limit < 500_000


def test_a_product_log_that_is_off_gets_nothing(logged: Scene) -> None:
    logged.parts.product_log.start("there is no topic")
    logged.run(event())
    assert OutputTopic.PRODUCTS not in logged.topics.topics()
    assert logged.acked == [0]
    assert cast("LoggedWriter", logged.writer).asked == []
