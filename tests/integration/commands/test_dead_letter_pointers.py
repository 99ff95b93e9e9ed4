"""Letters that point to events too large for the dead-letter topic."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.kafka.connection import KafkaConnection
from app.kafka.readers import TopicReader, open_reader
from app.operations import dead_letters
from app.operations.dead_letters import DeadLetters, LostEventError
from app.settings import KafkaSettings
from models.causes import Cause
from models.dead_letter import POINTS, DeadLetter
from testbed.cluster import Cluster


def settings_of(broker: Cluster, topic: str) -> KafkaSettings:
    """Return the settings of a deployment with a topic."""
    values: dict[str, Any] = {"KAFKA_CLUSTER": broker.bootstrap, "KAFKA_TOPIC": topic}
    return KafkaSettings(**values)


async def test_all_events_are_read_with_one_consumer(
    broker: Cluster, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter_topic = f"{topic_name}-dead-letters"
    broker.create_topic(topic_name, 2)
    broker.create_topic(letter_topic)
    events = [b"event %d" % number for number in range(6)]
    for number, event in enumerate(events):
        partition, offset = broker.produce(topic_name, event, partition=number % 2)
        letter = DeadLetter.of((topic_name, partition), offset, Cause.INVALID_EVENT, "too large")
        broker.produce(letter_topic, letter.pointer(event), headers=letter.headers())
    gone = DeadLetter.of((topic_name, 0), 100, Cause.INVALID_EVENT, "no longer there")
    broker.produce(letter_topic, gone.pointer(b"gone"), headers=gone.headers())
    opened: list[str] = []

    @asynccontextmanager
    async def counted(
        connection: KafkaConnection, topic: str, largest: int
    ) -> AsyncIterator[TopicReader]:
        opened.append(topic)
        async with open_reader(connection, topic, largest) as reader:
            yield reader

    monkeypatch.setattr(dead_letters, "open_reader", counted)
    settings = settings_of(broker, topic_name)
    found: list[bytes | None] = []
    async with DeadLetters(KafkaConnection.of(settings), settings) as letters:
        async for stored in letters.read():
            try:
                found.append(await letters.event(stored))
            except LostEventError:
                found.append(None)

    assert found == [*events, None]
    assert opened == [letter_topic, topic_name]


async def test_a_forged_pointer_hides_no_letter_of_the_event_that_it_names(
    broker: Cluster, topic_name: str
) -> None:
    """An event may look like a pointer, and its sender may guess its offset."""
    letter_topic = f"{topic_name}-dead-letters"
    broker.create_topic(topic_name)
    broker.create_topic(letter_topic)

    def send(event: bytes, value: bytes | None, *, at: int = 0, points: bytes = b"") -> str:
        _, offset = broker.produce(topic_name, event)
        letter = DeadLetter.of((topic_name, 0), at or offset, Cause.INVALID_EVENT, "why", at)
        headers = letter.headers() | ({POINTS: points} if points else {})
        sent = broker.produce(letter_topic, value or letter.pointer(event), headers=headers)
        return "{}-{}".format(*sent)

    def pointer_at(offset: int, event: bytes) -> bytes:
        letter = DeadLetter.of((topic_name, 0), offset, Cause.INVALID_EVENT, "why")
        return letter.pointer(event)

    whole, large = b"an event", b"an event that is too large"
    letters = {
        "whole": send(whole, whole),
        "large": send(large, None),
        # Looks like a pointer, and guessed its own offset; the second one says what it is.
        "old": send(forged := pointer_at(2, whole), forged),
        "new": send(forged := pointer_at(3, large), forged, points=b"false"),
        # The same, from somebody who may write to the topic of letters.
        "at another": send(b"x", pointer_at(77, large), at=77),
    }
    settings = settings_of(broker, topic_name)
    async with DeadLetters(KafkaConnection.of(settings), settings) as stored:
        assert {str(each) for each in await stored.latest()} == {*letters.values()}
        events = [
            await stored.event(each) async for each in stored.read() if each.letter.offset < 2
        ]
    assert events == [whole, large]


async def test_letters_that_name_other_topics_hold_up_no_command(
    broker: Cluster, topic_name: str
) -> None:
    """Whoever may write to the topic of letters names what they like."""
    letter_topic = f"{topic_name}-dead-letters"
    broker.create_topic(topic_name)
    broker.create_topic(letter_topic)
    named = ["absent", f"{topic_name}-absent", "", ".", "a b", "x" * 300, "\x1b[2J", "\0", "größe"]
    for topic in (*named, topic_name):
        letter = DeadLetter.of((topic, 7), 2**62, Cause.INVALID_EVENT, "too large")
        broker.produce(letter_topic, letter.pointer(b"large"), headers=letter.headers())
    _, offset = broker.produce(topic_name, b"an event")
    letter = DeadLetter.of((topic_name, 0), offset, Cause.INVALID_EVENT, "too large")
    broker.produce(letter_topic, letter.pointer(b"an event"), headers=letter.headers())
    before = broker.topics()
    settings = settings_of(broker, topic_name)
    async with DeadLetters(KafkaConnection.of(settings), settings) as letters:
        problems = [problem async for _, problem in letters.replay(letters.read())]
        assert len(await letters.latest()) == len(problems)
    assert [problem is None for problem in problems] == [False] * (len(named) + 1) + [True]
    assert broker.topics() == before
