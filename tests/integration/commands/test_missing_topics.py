"""A command that sends messages names a topic that is missing, and does not create it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from app.kafka.connection import KafkaConnection
from app.kafka.errors import TopicError
from app.kafka.readers import MessageId
from app.operations.chains import send_chains
from app.operations.dead_letters import DeadLetters, StoredLetter
from app.settings import KafkaSettings
from models.causes import Cause
from models.chains import ChainState
from models.dead_letter import DeadLetter
from testbed.cluster import Cluster
from tests.support.checked import settings_from

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: Cluster, topic_name: str) -> Iterator[KafkaSettings]:
    """The settings of a deployment whose only topic is that of the dead letters."""
    kafka.create_topic(f"{topic_name}-dead-letters")
    with settings_from({"KAFKA_CLUSTER": kafka.bootstrap, "KAFKA_TOPIC": topic_name}) as found:
        yield found.kafka


async def test_chains_are_not_resynced_without_their_topic(
    kafka: Cluster, settings: KafkaSettings
) -> None:
    name = settings.chain_update_topic
    with pytest.raises(TopicError, match=f"there is no topic {name}, .*; check KAFKA_CLUSTER"):
        await send_chains(KafkaConnection.of(settings), settings, [ChainState("c", [])])
    assert name not in kafka.topics()


async def test_letters_are_not_replayed_without_the_input_topic(
    kafka: Cluster, settings: KafkaSettings
) -> None:
    async with DeadLetters(KafkaConnection.of(settings), settings) as letters:
        replayed = letters.replay(one_letter())
        with pytest.raises(TopicError, match=f"there is no topic {settings.topic}, "):
            await anext(replayed)
    assert settings.topic not in kafka.topics()


async def one_letter() -> AsyncIterator[StoredLetter]:
    letter = DeadLetter.of(("input", 0), 0, Cause.MISSING_FILE, "the reason")
    yield StoredLetter(MessageId(0, 0), letter, None, b"event")
