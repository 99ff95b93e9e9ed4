"""``faust -A app audit``: reports what became of each event."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer
from lsst.daf.butler import Butler

from app.kafka.connection import KafkaConnection
from app.operations.audit import Audited, Finding, audit_events
from app.operations.audit_range import AuditError, AuditRange, OffsetRanges, Range
from app.operations.dead_letters import DeadLetters, StoredLetter
from app.operations.presence import Presence
from app.settings import Settings
from testbed.cluster import Cluster
from testbed.s3 import S3Door
from testbed.worker import faust_command
from tests.support.buckets import Bucket
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids, encode


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path)


def test_each_event_has_one_finding(deployment: Deployment, tmp_path: Path) -> None:
    night = Night(deployment.root)
    written, emptied, pruned, missing, bad, pending = (night.event(1, n) for n in range(6))
    bad["datasets"][0]["path"] += ".lost"
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(written, emptied, pruned, missing, bad)
        deployment.cluster.produce(deployment.topic, b"no event at all")
        deployment.wait_done()
    (deployment.root / emptied["datasets"][3]["path"]).unlink()
    butler = Butler.from_config(str(deployment.root), writeable=True)
    refs = butler.get_many_datasets(dataset_ids(pruned))
    butler.pruneDatasets(refs, disassociate=False, unstore=True)
    deployment.send(pending)

    healthy = faust_command(deployment.environment, "audit", "--published-after", "0m")
    assert healthy.returncode == 0, healthy.stderr
    assert "audit: written=2 expired=2 dead-letter=2 pending=1 missing=0" in healthy.stdout
    young = faust_command(deployment.environment, "audit", "--published-after", "80h")
    assert young.returncode == 1
    assert "audit: written=2 expired=0 dead-letter=2 pending=1 missing=2" in young.stdout
    assert f"missing      {deployment.topic}-0@1  its artifacts are gone" in young.stdout
    assert re.search(r"^dead-letter  \S+@\d+  letter 0-[01]  ", healthy.stdout, re.MULTILINE)

    lost = butler.get_many_datasets([next(iter(dataset_ids(missing)))])
    butler.pruneDatasets(lost, disassociate=True, unstore=True, purge=True)
    report = tmp_path / "report.json"
    audit = faust_command(deployment.environment, "audit", "--json", str(report))
    assert audit.returncode == 1
    assert "audit: written=1 expired=0 dead-letter=2 pending=1 missing=3" in audit.stdout
    assert f"missing      {deployment.topic}-0@3  1 of 10 datasets" in audit.stdout
    written_report = orjson.loads(report.read_bytes())
    findings = [event["finding"] for event in written_report["events"]]
    assert findings == [
        *("written", "missing", "missing", "missing", "dead-letter", "dead-letter", "pending")
    ]
    assert Counter(written_report["summary"]) == Counter(findings)
    printed = faust_command(deployment.environment, "--json", "audit", "--last", "99")
    assert printed.returncode == 1
    assert orjson.loads(printed.stdout) == written_report

    beyond = faust_command(deployment.environment, "--json", "audit", "--first", "7")
    assert beyond.returncode == 2
    reason = f"no event is in this range; there are events of {deployment.topic}-0 from 0 to 6"
    assert orjson.loads(beyond.stdout) == {"error": reason}
    assert beyond.stderr == f"butler-writer: {reason}\n"


def test_what_publication_has_removed_is_expired_and_not_missing(deployment: Deployment) -> None:
    """No event is in the Butler; the first one is older than publication takes."""
    deployment.cluster.create_topic(deployment.dead_letter_topic)
    night = Night(deployment.root)
    pod = Producer(deployment.cluster.client_config)
    three_days_ago = int((time.time() - 3 * 24 * 3600) * 1000)
    pod.produce(deployment.topic, encode(night.event(1, 0)), timestamp=three_days_ago)
    pod.produce(deployment.topic, b"no event at all", timestamp=three_days_ago)
    pod.produce(deployment.topic, encode(night.event(1, 1)))
    pod.flush(20)
    deployment.commit(1)

    audit = faust_command(deployment.environment, "audit", "--published-after", "48h")
    assert audit.returncode == 0, audit.stderr
    assert "audit: written=0 expired=1 dead-letter=0 pending=2 missing=0" in audit.stdout

    deployment.commit(3)
    audit = faust_command(deployment.environment, "audit", "--published-after", "48h")
    assert audit.returncode == 1
    assert "audit: written=0 expired=1 dead-letter=0 pending=0 missing=2" in audit.stdout
    audit = faust_command(deployment.environment, "audit", "--published-after", "96h")
    assert "audit: written=0 expired=0 dead-letter=0 pending=0 missing=3" in audit.stdout


@pytest.mark.parametrize(
    "ends",
    [
        {"first": 5, "last": 4},
        {"since": datetime(2026, 1, 2, tzinfo=UTC), "until": datetime(2026, 1, 1, tzinfo=UTC)},
    ],
)
def test_a_range_with_its_ends_in_the_wrong_order_is_refused(ends: dict[str, Any]) -> None:
    with pytest.raises(AuditError, match=r"^no event is "):
        AuditRange(**ends)


def test_an_event_whose_ids_belong_to_other_datasets_is_not_written(deployment: Deployment) -> None:
    night = Night(deployment.root)
    first, second = night.event(1, 1), night.event(1, 2)
    for one, other in zip(first["datasets"], second["datasets"], strict=True):
        other["refs"] = dict(zip(one["refs"], other["refs"].values(), strict=True))
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(first)
        deployment.wait_done()
        deployment.send(second)
        deployment.wait_done()
    audit = faust_command(deployment.environment, "audit")
    assert "audit: written=1 expired=0 dead-letter=1 pending=0 missing=0" in audit.stdout


async def audit_here(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, audit_range: Range
) -> list[Audited]:
    """Run an audit in this process."""
    for name, value in deployment.environment.items():
        monkeypatch.setenv(name, value)
    kafka = Settings().kafka
    found = audit_events(KafkaConnection.of(kafka), kafka, Presence(deployment.butler), audit_range)
    return [audited async for audited, _ in found]


@pytest.mark.parametrize(
    ("audit_range", "offsets"),
    [
        (AuditRange(), {(p, o) for p in range(2) for o in range(5)}),
        (AuditRange(first=1, last=3), {(p, o) for p in range(2) for o in range(1, 4)}),
        (AuditRange(first=3, last=10**9), {(p, o) for p in range(2) for o in range(3, 5)}),
        (AuditRange(since=datetime(1900, 1, 1, tzinfo=UTC), first=4), {(0, 4), (1, 4)}),
    ],
)
async def test_a_range_applies_to_every_partition_and_ends_with_it(
    ten_events: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    audit_range: AuditRange,
    offsets: set[tuple[int, int]],
) -> None:
    found = await audit_here(ten_events, monkeypatch, audit_range)
    assert {(audited.partition, audited.offset) for audited in found} == offsets


@pytest.mark.parametrize(
    "audit_range",
    [
        AuditRange(first=10**9),
        AuditRange(first=5),  # a transaction marker
    ],
)
async def test_offsets_without_an_event_are_an_error(
    ten_events: Deployment, monkeypatch: pytest.MonkeyPatch, audit_range: AuditRange
) -> None:
    with pytest.raises(AuditError, match=r"no event is in this range; .*-1 from 0 to "):
        await audit_here(ten_events, monkeypatch, audit_range)


@pytest.mark.parametrize(
    "audit_range",
    [
        AuditRange(since=datetime(2100, 1, 1, tzinfo=UTC)),
        AuditRange(until=datetime(1900, 1, 1, tzinfo=UTC)),
    ],
)
async def test_a_time_without_an_event_is_no_error(
    ten_events: Deployment, monkeypatch: pytest.MonkeyPatch, audit_range: AuditRange
) -> None:
    assert await audit_here(ten_events, monkeypatch, audit_range) == []


async def test_all_events_of_a_log_that_went_back_are_pending(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk was lost, and its committed offset lies beyond its end."""
    deployment.cluster.create_topic(deployment.dead_letter_topic)
    deployment.send(Night(deployment.root).event())
    deployment.commit(1000)
    for audit_range in (AuditRange(), OffsetRanges({0: (0, 1000)})):
        async with asyncio.timeout(30):
            found = await audit_here(deployment, monkeypatch, audit_range)
        assert [audited.finding for audited in found] == [Finding.PENDING]


@pytest.fixture(scope="module")
def ten_events(kafka: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment with ten events, none written; each partition ends with a transaction marker."""
    deployment = Deployment(kafka, "ten-events", tmp_path_factory.mktemp("ten"), partitions=2)
    kafka.create_topic(deployment.dead_letter_topic)
    deployment.committed()  # waits until a broker that has just started has a coordinator
    pod = Producer({**kafka.client_config, "transactional.id": deployment.topic})
    pod.init_transactions(20)
    pod.begin_transaction()
    for detector in range(10):
        event = Night(deployment.root).event(1, detector)
        pod.produce(deployment.topic, encode(event), partition=detector % 2)
    pod.flush(20)
    pod.commit_transaction(20)
    return deployment


async def test_an_event_that_is_finished_during_the_audit_is_not_missing(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is set aside after the audit has read the letters."""
    read = DeadLetters.read
    with deployment.worker() as worker:
        worker.wait_ready()

        def finish() -> None:
            deployment.cluster.produce(deployment.topic, b"no event at all")
            deployment.wait_done()

        async def read_too_early(letters: DeadLetters) -> AsyncIterator[StoredLetter]:
            async for stored in read(letters):
                yield stored
            await asyncio.to_thread(finish)

        monkeypatch.setattr(DeadLetters, "read", read_too_early)
        found = await audit_here(deployment, monkeypatch, AuditRange())
        assert [audited.finding for audited in found] == [Finding.PENDING]


def test_no_artifact_is_reported_as_expired_if_the_store_is_unreachable(
    deployment: Deployment, bucket: Bucket, s3_door: S3Door
) -> None:
    bucket.hold_artifacts_of(deployment)
    deployment.settings["S3_ENDPOINT_URL"] = s3_door.url
    event = Night().event()
    bucket.upload(event)
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(event)
        deployment.wait_done()
    s3_door.shut()
    audit = faust_command(deployment.environment, "audit")
    s3_door.open()
    assert audit.returncode == 2
    assert "expired" not in audit.stdout
    assert s3_door.url in audit.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("BUTLER_REPOSITORY", "/nowhere", "cannot open the repository '/nowhere'"),
        ("KAFKA_CLUSTER", "127.0.0.1:1", "Kafka at 127.0.0.1:1: no broker answers: 127.0.0.1:1"),
        ("KAFKA_CLUSTER", "", "not set: KAFKA_CLUSTER"),
    ],
)
def test_an_audit_that_cannot_run_reports_the_error_in_one_line(
    deployment: Deployment, setting: str, value: str, reason: str
) -> None:
    audit = faust_command({**deployment.environment, setting: value}, "audit")
    assert audit.returncode == 2
    last = audit.stderr.splitlines()[-1]
    assert last.startswith("butler-writer: ")
    assert reason in last
    assert "Traceback" not in audit.stderr
