"""What a pod's writer reports about an event, and what happens to the event."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle
from pathlib import Path
from uuid import UUID

import pytest

from butler_writer_client import (
    Artifact,
    KafkaTopic,
    Mode,
    PromptOutputWriter,
    TransferError,
    Undelivered,
    export_artifacts,
)
from testbed.cluster import Cluster, Message
from testbed.kafka import ApacheKafka
from testbed.waiting import wait_until
from tests.support.deployment import Deployment
from tests.support.events import CHAIN, RUN
from tests.support.pods import LocalPod

_detectors = count()


@pytest.fixture
def pod(make_pod: Callable[[int], LocalPod]) -> LocalPod:
    """A pod with outputs of a detector of its own."""
    return make_pod(next(_detectors))


def dataset_ids(messages: list[Message]) -> list[UUID]:
    """Return the ids of the datasets in some messages; one in two messages is returned twice."""
    events = [json.loads(message.value or b"") for message in messages]
    return [UUID(i) for event in events for file in event["datasets"] for i in file["refs"]]


@pytest.fixture(scope="module")
def deployment(broker: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose worker is running."""
    folder = tmp_path_factory.mktemp("client")
    settings = {"BUTLER_WRITER_STAGING_ROOTS": str(folder / "staging")}
    deployment = Deployment(broker, folder.name, folder, settings=settings)
    (folder / "staging").mkdir()
    with deployment.worker() as worker:
        worker.wait_ready()
        yield deployment


@pytest.fixture
def stored(deployment: Deployment) -> Callable[[], Counter[UUID]]:
    """Wait until all events are written; return how often each dataset is in the Butler."""

    def stored() -> Counter[UUID]:
        deployment.wait_done()
        found = deployment.fresh_butler().query_all_datasets(RUN, find_first=False, limit=None)
        assert deployment.dead_letters() == []
        return Counter(ref.id for ref in found)

    return stored


@pytest.mark.parametrize("mode", Mode)
def test_transferred_datasets_can_be_read_from_the_central_repository(
    deployment: Deployment, pod: LocalPod, stored: Callable[[], Counter[UUID]], mode: Mode
) -> None:
    topic = KafkaTopic(deployment.cluster.client_config, deployment.topic)
    roots = {Mode.FINAL: deployment.root, Mode.STAGING: deployment.folder / "staging"}
    roots[Mode.STAGING].mkdir(exist_ok=True)
    writer = PromptOutputWriter(topic, str(roots[mode]), mode=mode)

    writer.transfer_outputs(pod.butler, pod.records, pod.outputs)

    assert stored().keys() >= {ref.id for ref in pod.outputs}
    central = deployment.fresh_butler([CHAIN])
    for ref in pod.outputs:
        assert central.get(ref.datasetType, ref.dataId) == pod.butler.get(ref)
    assert [path for path in roots[Mode.STAGING].rglob("*") if path.is_file()] == []


def test_datasets_that_are_transferred_twice_are_there_once(
    deployment: Deployment, pod: LocalPod, stored: Callable[[], Counter[UUID]]
) -> None:
    topic = KafkaTopic(deployment.cluster.client_config, deployment.topic)
    writer = PromptOutputWriter(topic, str(deployment.root))

    writer.transfer_outputs(pod.butler, pod.records, pod.outputs)
    stored()
    writer.transfer_outputs(pod.butler, pod.records, pod.outputs)

    found = stored()
    assert {found[ref.id] for ref in pod.outputs} == {1}
    sent = [json.loads(m.value or b"") for m in deployment.cluster.consume(deployment.topic)]
    assert sent[-1]["event_id"] == sent[-2]["event_id"]


def test_all_datasets_of_a_split_event_are_written(
    deployment: Deployment, pod: LocalPod, stored: Callable[[], Counter[UUID]]
) -> None:
    topic = KafkaTopic(deployment.cluster.client_config, deployment.topic, max_event_bytes=4000)
    before = deployment.committed()

    PromptOutputWriter(topic, str(deployment.root)).transfer_outputs(
        pod.butler, pod.records, pod.outputs
    )

    found = stored()
    assert {found[ref.id] for ref in pod.outputs} == {1}
    assert deployment.committed() - before >= 2


@pytest.mark.kafka
def test_events_lost_by_a_killed_broker_are_not_reported_as_sent(
    private_kafka: ApacheKafka, pod: LocalPod, topic_name: str, tmp_path: Path
) -> None:
    private_kafka.create_topic(topic_name)
    topic = KafkaTopic(private_kafka.client_config, topic_name, timeout=3)
    writer = PromptOutputWriter(topic, str(tmp_path))
    artifacts = export_artifacts(pod.butler, pod.outputs)
    sent: list[Artifact] = []

    def send_until_it_fails() -> tuple[Artifact, TransferError]:
        for artifact in cycle(artifacts):
            try:
                writer.transfer(pod.records, [artifact])
            except TransferError as error:
                return artifact, error
            sent.append(artifact)
        raise AssertionError

    with ThreadPoolExecutor(1) as pods:
        failing = pods.submit(send_until_it_fails)
        wait_until(lambda: len(sent) > 50, 60, lambda: f"{len(sent)} events sent")
        private_kafka.kill()
        failed, error = failing.result()

    assert error.unused == []  # the event may have reached the broker
    assert [file.basename() for file in error.in_doubt] == [failed.source.basename()]
    private_kafka.start()
    there = dataset_ids(private_kafka.consume(topic_name))
    assert there[: len(sent)] == [artifact.refs[0].id for artifact in sent]
    assert there[len(sent) :] in ([], [failed.refs[0].id])

    writer.transfer(pod.records, [failed])
    assert dataset_ids(private_kafka.consume(topic_name))[-1] == failed.refs[0].id


#: A process that sends an event, forks, and sends one from each of both; then both end.
FORKING = """
import os, sys
from butler_writer_client import KafkaTopic

topic = KafkaTopic({"bootstrap.servers": sys.argv[1]}, sys.argv[2], timeout=20)
assert topic.send([b"before"]) == [None]
child = os.fork()
assert topic.send([b"parent" if child else b"child"]) == [None]
if child:
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_process_may_fork_after_it_has_sent_events(broker: Cluster, topic_name: str) -> None:
    broker.create_topic(topic_name)

    done = subprocess.run(
        [sys.executable, "-c", FORKING, broker.bootstrap, topic_name],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    values = [message.value for message in broker.consume(topic_name)]
    assert Counter(values) == Counter([b"before", b"child", b"parent"])


def test_a_wrong_kafka_property_is_named_and_no_file_is_in_doubt() -> None:
    topic = KafkaTopic({"bootstrap.servers": "127.0.0.1:1", "no.such": "property"}, "any")

    (undelivered,) = topic.send([b"{}"])

    assert undelivered is not None
    assert "no.such" in undelivered.reason
    assert not undelivered.in_doubt


@pytest.mark.kafka
class TestRefusals:
    """Events that the brokers refuse for certain."""

    def test_a_topic_that_does_not_exist(self, kafka: Cluster, topic_name: str) -> None:
        config = {**kafka.client_config, "topic.metadata.propagation.max.ms": 500}

        (undelivered,) = KafkaTopic(config, topic_name, timeout=20).send([b"{}"])

        assert undelivered is not None
        assert not undelivered.in_doubt
        assert "Unknown topic" in undelivered.reason

    def test_an_event_over_the_topics_limit(self, kafka: Cluster, topic_name: str) -> None:
        kafka.create_topic(topic_name, max_message_bytes=1000)
        config = {**kafka.client_config, "compression.type": "none"}

        small, large = KafkaTopic(config, topic_name).send([b"x" * 500, b"x" * 2000])

        assert small is None
        assert isinstance(large, Undelivered)
        assert not large.in_doubt
        assert [len(message.value or b"") for message in kafka.consume(topic_name)] == [500]

    def test_a_compressed_event_may_be_larger(self, kafka: Cluster, topic_name: str) -> None:
        kafka.create_topic(topic_name, max_message_bytes=1000)

        assert KafkaTopic(kafka.client_config, topic_name).send([b"x" * 20_000]) == [None]
