"""The pages of the dead letters read little, however many there are, and may hide the events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from markupsafe import escape

from app.kafka.connection import KafkaConnection
from app.kafka.readers import Message, TopicReader
from app.operations.pages.letters import MOST, NewestLetters
from app.settings import KafkaSettings
from models.causes import Cause
from models.dead_letter import DeadLetter
from testbed.cluster import Cluster
from testbed.waiting import wait_until
from tests.support.deployment import Deployment

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


async def test_a_look_reads_what_is_new_and_no_more_than_its_bound(
    broker: Cluster, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = KafkaSettings(KAFKA_CLUSTER=broker.bootstrap, KAFKA_TOPIC=topic_name)
    topic = settings.dead_letter_topic
    broker.create_topic(topic)
    read: list[int] = []
    read_until = TopicReader.read_until

    async def counted(reader: TopicReader, ends: dict[int, int]) -> AsyncIterator[Message]:
        async for message in read_until(reader, ends):
            read.append(message.offset)
            yield message

    monkeypatch.setattr(TopicReader, "read_until", counted)
    letter = DeadLetter.of((topic_name, 0), 0, Cause.CONFLICT, "the reason")

    def send(number: int) -> None:
        for offset in range(number):
            headers = letter.headers() | {"offset": str(offset).encode()}
            broker.produce(topic, b"{}", headers=headers, partition=0)

    letters = NewestLetters(KafkaConnection.of(settings), settings, shows_payloads=True)
    monkeypatch.setattr(letters._document, "_seconds", 0.0)
    send(MOST + 50)
    found = await letters.newest()
    assert (found.no_answer, found.total, found.counted) == (None, MOST + 50, MOST)
    assert found.causes == {"conflict": MOST}
    assert len(found.letters) == 100
    assert read == list(range(50, MOST + 50))
    send(3)
    read.clear()
    found = await letters.newest()
    assert read == list(range(MOST + 50, MOST + 53))
    assert found.counted == MOST
