"""``faust -A app skip`` sets one event of a stopped group aside by hand."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from confluent_kafka import Consumer

from app.kafka.connection import KafkaConnection
from app.kafka.readers import MessageId
from app.operations.offsets.skipping import SkipError, skip_event
from app.settings import KafkaSettings
from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import faust_command
from tests.support.checked import settings_from
from tests.support.deployment import Deployment

pytestmark = pytest.mark.kafka


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    found = Deployment(kafka, topic_name, tmp_path)
    kafka.create_topic(found.dead_letter_topic)
    for value in (b"first", b"second", b"third"):
        kafka.produce(topic_name, value, key=b"key")
    return found


async def skip(settings: KafkaSettings, name: str) -> int:
    event = MessageId.named(name)
    assert event is not None
    return await skip_event(KafkaConnection.of(settings), settings, event)


async def test_only_the_first_event_that_is_not_finished_can_be_skipped(
    deployment: Deployment,
) -> None:
    deployment.commit(1)
    with settings_from(deployment.environment) as found:
        settings = found.kafka
        for name, reason in (
            ("0-0", "@0 is finished: the group continues at offset 1"),
            ("0-2", "that is offset 1, and nothing before an event may be passed over"),
            ("0-9", "that is offset 1,"),
            ("7-1", "has no partition 7"),
        ):
            with pytest.raises(SkipError, match=reason):
                await skip(settings, name)
        assert deployment.dead_letters() == []
        assert [await skip(settings, "0-1"), await skip(settings, "0-2")] == [2, 3]
        with pytest.raises(SkipError, match="has no event that is not finished"):
            await skip(settings, "0-3")
    letters = deployment.dead_letters()
    assert [(letter.key, letter.value) for letter in letters] == [
        (b"key", b"second"),
        (b"key", b"third"),
    ]
    headers = dict(letters[0].headers)
    assert (headers["error_class"], headers["offset"], headers["points"]) == (
        *(b"skipped", b"1"),
        b"false",
    )
    assert deployment.committed() == 3


def test_it_is_refused_while_the_group_has_members(deployment: Deployment) -> None:
    member = Consumer({**deployment.cluster.client_config, "group.id": deployment.group})
    try:
        member.subscribe([deployment.topic])
        wait_until(lambda: member.poll(0.1) or member.assignment(), 30, "it is a member")
        refused = faust_command(deployment.environment, "--json", "skip", "0-0")
        assert refused.returncode == 2, refused.stderr
        assert "has members" in orjson.loads(refused.stdout)["error"]
    finally:
        member.close()
    assert deployment.dead_letters() == []

    done = faust_command(deployment.environment, "skip", "0-0")
    assert done.returncode == 0, done.stderr
    assert "continues at offset 1; start the workers" in done.stdout
    assert deployment.committed() == 1
    assert len(deployment.dead_letters()) == 1
