"""The pages of the dead letters read little, however many there are, and may hide the events."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from markupsafe import escape

from app.kafka.connection import KafkaConnection
from app.operations.pages.letters.detail import LetterDetails
from app.operations.pages.letters.newest import MOST, NewestLetters
from app.operations.pages.letters.reader import LetterReader
from app.settings import KafkaSettings
from models.causes import Cause
from models.dead_letter import DeadLetter
from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.web import answer

HOSTILE = b'{"type": "<script>alert(1)</script>"}'


@pytest.mark.parametrize("payloads", ["true", "false"])
def test_a_bad_event_is_listed_and_shown_unless_that_is_forbidden(
    broker: Cluster, topic_name: str, tmp_path: Path, payloads: str
) -> None:
    deployment = Deployment(broker, topic_name, tmp_path)
    with deployment.worker(BUTLER_WRITER_WEB_PAYLOADS=payloads) as worker:
        worker.wait_ready()
        deployment.cluster.produce(deployment.topic, HOSTILE)
        deployment.wait_done()
        (letter,) = wait_until(
            lambda: json.loads(worker.page("/api/v1/dead-letters"))["letters"], 30, "a letter"
        )
        assert letter["cause"] == "invalid_event"
        assert letter["message"] == f"{deployment.topic}-0-0"
        listed = worker.page("/dead-letters")
        assert f"./dead-letters/{letter['id']}" in listed
        assert str(escape(letter["reason"])) in listed
        shown = worker.page(f"/dead-letters/{letter['id']}")
        assert f"faust -A app dead-letters replay {letter['id']}" in shown
        detail = json.loads(worker.page(f"/api/v1/dead-letters/{letter['id']}"))
        for page in (listed, shown):
            assert "<script>alert" not in page
        if payloads == "true":
            assert json.loads(detail["payload"]) == json.loads(HOSTILE)
            assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;\n}" in shown
        else:
            assert detail["payload"] is None
            assert "The content is not shown" in shown
        for name in ("0-1", "7-0", "x", "0-", "-", "0-" + "9" * 40):
            assert worker.status(f"/dead-letters/{name}") == 404, name


@pytest.fixture
def settings(broker: Cluster, topic_name: str) -> KafkaSettings:
    """The settings of a service whose dead-letter topic is there, and empty."""
    found = KafkaSettings(KAFKA_CLUSTER=broker.bootstrap, KAFKA_TOPIC=topic_name)
    broker.create_topic(found.dead_letter_topic)
    return found


@pytest.fixture
async def reader(settings: KafkaSettings) -> AsyncIterator[LetterReader]:
    found = LetterReader(KafkaConnection.of(settings), settings)
    yield found
    await found.close()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The offsets of all messages that are decoded, whether they are used or not."""
    offsets: list[int] = []
    getmany = AIOKafkaConsumer.getmany

    async def counted(self: AIOKafkaConsumer, *args: Any, **kwargs: Any) -> Any:
        found = await getmany(self, *args, **kwargs)
        offsets.extend(each.offset for messages in found.values() for each in messages)
        return found

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", counted)
    return offsets


def letters(settings: KafkaSettings, first: int, number: int) -> Iterator[tuple[bytes, Any]]:
    """Return dead letters; each tenth of them has another cause."""
    for offset in range(first, first + number):
        cause = Cause.INVALID_EVENT if offset % 10 else Cause.CONFLICT
        letter = DeadLetter.of((settings.topic, 0), offset, cause, "the reason")
        yield b'{"number": %d}' % offset, letter.headers()


async def test_a_look_reads_what_is_new_and_no_more_than_its_bound(
    broker: Cluster,
    settings: KafkaSettings,
    reader: LetterReader,
    decoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newest = NewestLetters(reader)
    monkeypatch.setattr(newest._document, "_seconds", 0.0)
    broker.produce_many(settings.dead_letter_topic, letters(settings, 0, MOST + 50))
    found = await newest.get()
    assert (found.no_answer, found.total, found.counted) == (None, MOST + 50, MOST)
    assert found.causes == {"invalid_event": 180, "conflict": 20}
    assert [each.message for each in found.letters] == [
        f"{settings.topic}-0-{offset}" for offset in range(MOST + 49, MOST - 51, -1)
    ]
    assert found.counted_since is not None
    assert found.counted_since < found.letters[-1].set_aside
    assert decoded == list(range(50, MOST + 50))
    broker.produce_many(settings.dead_letter_topic, letters(settings, MOST + 50, 3))
    decoded.clear()
    found = await newest.get()
    assert decoded == list(range(MOST + 50, MOST + 53))
    assert found.counted == MOST


async def test_one_letter_is_read_once_however_many_look_at_it(
    broker: Cluster, settings: KafkaSettings, reader: LetterReader, decoded: list[int]
) -> None:
    broker.produce_many(settings.dead_letter_topic, letters(settings, 0, 30))
    details = LetterDetails(reader, shows_payloads=True)
    for name in ("0-7", "0-29", "0-0"):
        decoded.clear()
        found = await asyncio.gather(*(details.get(name) for _ in range(50)))
        assert found[0] is not None
        assert all(each is found[0] for each in found)
        assert found[0].letter.id == name
        assert decoded == [int(name.partition("-")[2])]
        async with reader.use() as used:
            assert not used._consumer._fetcher._records  # megabytes of letters that follow it
    decoded.clear()
    assert await details.get("0-7") is not None
    assert decoded == []
    for name in ("0-30", "1-0", "-1-5", "1e9", "x"):
        assert await details.get(name) is None
    assert decoded == []


@pytest.mark.kafka
def test_20_000_dead_letters_slow_neither_the_worker_nor_the_page(
    kafka: Cluster, topic_name: str, tmp_path: Path, decoded: list[int]
) -> None:
    """The dead-letter topic has them when the worker starts; pages are asked without a pause."""
    deployment = Deployment(
        kafka, topic_name, tmp_path, settings={"BUTLER_WRITER_WINDOW_SECONDS": "0.2"}
    )
    kafka.create_topic(
        deployment.dead_letter_topic,
        max_message_bytes=12 * 2**20,
        retention_ms=14 * 24 * 3600 * 1000,
    )
    settings = KafkaSettings(KAFKA_CLUSTER=kafka.bootstrap, KAFKA_TOPIC=topic_name)
    kafka.produce_many(deployment.dead_letter_topic, letters(settings, 0, 20_000))
    with deployment.worker() as worker, ThreadPoolExecutor(4) as pool:
        worker.wait_ready()
        is_over = threading.Event()
        asked = [pool.submit(keep_asking, worker, n, is_over) for n in range(4)]
        try:
            for number in range(4):  # each is flushed while pages are asked for
                deployment.send(Night(deployment.root).event(1, number))
                deployment.wait_done()
        finally:
            is_over.set()
        times = [seconds for each in asked for seconds in each.result()]
        found = json.loads(worker.page("/api/v1/dead-letters"))
        page = worker.page("/dead-letters")
    assert len(times) > 20
    assert max(times) < 3  # usually far below 0.1 s
    assert (found["total"], found["counted"], len(found["letters"])) == (20_000, MOST, 100)
    assert found["causes"] == {"invalid_event": 180, "conflict": 20}
    assert f"Of the newest {MOST} letters, set aside since " in page
    assert "20,000 messages" in page
    asyncio.run(look_once(settings))
    assert decoded == [*range(20_000 - MOST, 20_000), 7]


async def look_once(settings: KafkaSettings) -> None:
    """Look at the list and at one letter, as a worker does."""
    reader = LetterReader(KafkaConnection.of(settings), settings)
    assert (await NewestLetters(reader).get()).no_answer is None
    assert await LetterDetails(reader, shows_payloads=True).get("0-7") is not None
    await reader.close()


def keep_asking(worker: Worker, number: int, is_over: threading.Event) -> list[float]:
    """Ask for the list and for letters, one after another; return the seconds of each answer."""
    times = []
    for offset in count(number * 5000):
        for path in ("/dead-letters", f"/dead-letters/0-{offset}"):
            started = time.monotonic()
            assert answer(worker, path).status == 200
            times.append(time.monotonic() - started)
        if is_over.is_set():
            return times
    raise AssertionError
