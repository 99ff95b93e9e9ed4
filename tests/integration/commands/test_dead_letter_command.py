"""``faust -A app dead-letters``: what was set aside is listed, shown and replayed."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from confluent_kafka import TopicPartition
from lsst.daf.butler import Butler, DatasetType

from app.settings import MIB
from testbed.cluster import Cluster
from testbed.worker import faust_command
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids, encode


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path)


@pytest.fixture(scope="module")
def empty_letters(kafka: Cluster) -> dict[str, str]:
    """The environment of a deployment that has set nothing aside; nothing runs in it."""
    kafka.create_topic("empty-dead-letters")
    return {
        "BUTLER_REPOSITORY": "none",
        "KAFKA_CLUSTER": kafka.bootstrap,
        "KAFKA_TOPIC": "empty",
        "KAFKA_OUTPUT_TOPIC": "none",
        "OUTPUT_DATASET_LIST_DIRECTORY": "none",
    }


def command(deployment: Deployment, *arguments: str) -> CompletedProcess[str]:
    return faust_command(deployment.environment, "dead-letters", *arguments)


def test_letters_are_replayed_once_their_cause_is_mended(deployment: Deployment) -> None:
    night = Night(deployment.root)
    unknown = night.event(1, 1)
    for ref in unknown["datasets"][0]["refs"].values():
        ref["dataset_type_name"] = "not_yet"
    lost = night.event(1, 2)
    lost["datasets"][0]["path"] += ".lost"
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(unknown, lost)
        deployment.wait_done()

        listed = command(deployment, "list").stdout
        assert "2 dead letters" in listed
        assert "unknown_dataset_type" in listed
        assert f"{deployment.topic}-0@0" in listed
        only = command(deployment, "list", "--error-class", "missing_file").stdout
        assert "1 dead letters: missing_file 1" in only
        shown = command(deployment, "show", "0-0").stdout
        assert json.loads(shown[shown.rindex('{"type"') :]) == unknown

        butler = Butler.from_config(str(deployment.root), writeable=True)
        dimensions = butler.get_dataset_type("isr_log").dimensions
        butler.registry.registerDatasetType(
            DatasetType("not_yet", dimensions, "StructuredDataDict")
        )
        assert "replayed 2 events" in command(deployment, "replay", "--all").stdout
        deployment.wait_done()

    found = deployment.fresh_butler().get_many_datasets(dataset_ids(unknown))
    assert {ref.id for ref in found} == dataset_ids(unknown)
    listed = command(deployment, "list").stdout
    assert "3 dead letters" in listed
    assert f"{deployment.topic}-0@3  (replayed 1 times)" in listed


def test_an_event_that_is_replayed_in_vain_is_replayed_once_more_only(
    deployment: Deployment,
) -> None:
    """Though it has two letters by then."""
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.cluster.produce(deployment.topic, b"no event at all")
        deployment.cluster.produce(deployment.topic, b"nor this")
        for letters in (2, 4):
            deployment.wait_done()
            assert len(deployment.dead_letters()) == letters
            assert "replayed 2 events" in command(deployment, "replay", "--all").stdout
    headers = [dict(message.headers) for message in deployment.cluster.consume(deployment.topic)]
    assert [h.get("replays") for h in headers] == [None] * 2 + [b"1"] * 2 + [b"2"] * 2


def test_a_letter_that_points_to_its_event_is_shown_and_replayed_whole(
    deployment: Deployment,
) -> None:
    """Nor does an event that says that it is such a letter pass for one."""
    bound = 100_000
    large = encode(Night().event(1, 1, comment="x" * (bound + 2 * MIB)))
    pretended = b'{"type": "dead-letter-pointer", "sha256": "0"}'
    settings = {"BUTLER_WRITER_KAFKA_MAX_MESSAGE_BYTES": str(bound)}
    deployment.settings.update(settings)
    with deployment.worker() as worker:
        worker.wait_ready()
        for value in (large, pretended):
            deployment.cluster.produce(deployment.topic, value)
        deployment.wait_done()
        assert b"pointer" in (deployment.dead_letters()[0].value or b"")
        assert large.decode() in command(deployment, "show", "0-0").stdout
        assert pretended.decode() in command(deployment, "show", "0-1").stdout
        assert "replayed 2 events" in command(deployment, "replay", "0-0", "0-1").stdout
        deployment.wait_done()
    messages = deployment.cluster.consume(deployment.topic)
    assert [m.value for m in messages] == [large, pretended, large, pretended]

    rest = TopicPartition(deployment.topic, 0, 3)
    deployment.cluster.admin.delete_records([rest])[rest].result(20)
    lost = command(deployment, "replay", "--all")
    assert lost.returncode == 2
    assert f"0-2  LostEventError: {deployment.topic}-0 no longer has the event at 2" in lost.stderr
    assert "replayed 1 events" in lost.stdout


def test_what_is_no_letter_is_passed_over(deployment: Deployment) -> None:
    with deployment.worker() as worker:
        worker.wait_ready()
    deployment.cluster.produce(deployment.dead_letter_topic, b"whose is this?")
    listed = command(deployment, "list")
    assert "0 dead letters" in listed.stdout
    assert "not a dead letter of this service" in listed.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "0-7"], "no such letters: 0-7"),
        (["replay", "9-0", "0-999999999999999999"], "no such letters: 9-0, 0-999999999999999999"),
        (["show", "seven"], "not a letter's name (PARTITION-OFFSET): seven"),
        (["show"], "name the letters to show"),
        (["replay"], "name the letters to replay, or give --all"),
        (["replay", "0-0", "--all"], "name the letters to replay, or give --all"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    empty_letters: dict[str, str], arguments: list[str], said: str
) -> None:
    refused = faust_command(empty_letters, "dead-letters", *arguments)
    assert refused.returncode == 2
    assert refused.stderr == f"butler-writer: {said}\n"


def test_a_topic_that_is_not_there_is_named_and_not_made(
    kafka: Cluster, empty_letters: dict[str, str]
) -> None:
    refused = faust_command({**empty_letters, "KAFKA_TOPIC": "nowhere"}, "dead-letters", "list")
    assert refused.returncode == 2
    assert "there is no topic nowhere-dead-letters" in refused.stderr
    assert "nowhere-dead-letters" not in kafka.topics()
