"""Batches that Apache Kafka takes and aiokafka cannot decode end neither workers nor commands."""

from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pytest
from aiokafka.codec import lz4_encode, zstd_encode
from aiokafka.errors import KafkaError

from testbed.cluster import Cluster
from testbed.worker import faust_command
from tests.support.deployment import Deployment
from tests.support.events import Night, encode
from tests.support.flow import check_all_written
from tests.support.raw_batches import RawRecord, batch, send_batch


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    staging = tmp_path / "staging"
    staging.mkdir()
    settings = {"BUTLER_WRITER_STAGING_ROOTS": str(staging)}
    return Deployment(kafka, topic_name, tmp_path, settings=settings)


def test_messages_that_cannot_be_decoded_are_set_aside_and_the_others_are_written(
    deployment: Deployment,
) -> None:
    """Before, between and after them are events; the commands read all of them, too."""
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(4)]
    first, same_batch, odd_bits, last = map(encode, events)
    compressed = batch(
        RawRecord(b"1"), RawRecord(b"2"), codec=3, compress=lambda data: lz4_encode(data) + b"more"
    )
    large = [RawRecord(b" " * (10 << 20))] * 60
    batches = [
        batch(RawRecord(first)),
        batch(RawRecord(b"{}", b"key", [(b"\xff\xfe", b"v")]), RawRecord(same_batch)),
        compressed,
        batch(*large, codec=4, compress=zstd_encode),
        batch(RawRecord(odd_bits, attributes=0x80)),
        batch(RawRecord(last), codec=1, compress=lambda data: gzip.compress(data) + b"x"),
    ]
    for each in batches:
        send_batch(deployment.cluster.bootstrap, deployment.topic, each)
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.wait_done()
    check_all_written(deployment, events, dead_letters=3)
    letters = {
        int(dict(letter.headers)["offset"]): (letter, dict(letter.headers))
        for letter in deployment.dead_letters()
    }
    assert {headers["error_class"] for _, headers in letters.values()} == {b"undecodable_message"}
    assert letters.keys() == {1, 4, 64}
    letter, headers = letters[1]
    assert (letter.key, letter.value) == (b"key", b"{}")
    assert headers["reason"].startswith(b"UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff")
    letter, headers = letters[4]
    assert (letter.value or b"")[16:] == compressed[16:]  # brokers set offset and epoch
    assert headers["reason"].startswith(b"offsets 3 to 4, which were sent in one batch: Decompr")
    assert b"more than 67108864 bytes" in letters[64][1]["reason"]

    check_commands(deployment)


def check_commands(deployment: Deployment) -> None:
    """Check what the commands that read the input topic say."""
    audit = faust_command(deployment.environment, "audit")
    assert audit.returncode == 0, audit.stderr
    assert "audit: written=4 expired=0 dead-letter=3 pending=0 missing=0" in audit.stdout
    leftovers = faust_command(deployment.environment, "leftovers", "--older-than", "1d")
    assert leftovers.returncode == 0, leftovers.stderr
    replayed = faust_command(deployment.environment, "--json", "dead-letters", "replay", "--all")
    assert orjson.loads(replayed.stdout)["skipped"] == {"that hold no event": 3}, replayed.stderr


def test_brokers_refuse_what_the_checks_of_apache_kafka_find(
    kafka: Cluster, topic_name: str
) -> None:
    """So these need nobody who reads them."""
    kafka.create_topic(topic_name)
    good = batch(RawRecord(b"{}"))
    for refused in (
        good[:-1] + b"x",
        batch(RawRecord(b"{}"), codec=5),
        batch(RawRecord(b"{}"), codec=1, compress=lambda _: b"nothing"),
        batch(RawRecord(b"{}"), compress=lambda data: data + b"x"),
    ):
        with pytest.raises(KafkaError):
            send_batch(kafka.bootstrap, topic_name, refused)
    assert kafka.end_offsets(topic_name) == {0: 0}
