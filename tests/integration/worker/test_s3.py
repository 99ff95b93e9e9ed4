"""Datastore and dataset lists on an S3 server."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from lsst.resources import ResourcePath

from butler_writer_client import KafkaTopic, Mode, PromptOutputWriter
from testbed.cluster import Cluster
from testbed.s3 import S3Door
from testbed.waiting import wait_until
from testbed.worker import faust_command
from tests.support.buckets import Bucket
from tests.support.deployment import Deployment
from tests.support.events import INSTRUMENT, RUN, Night, dataset_ids, stored_ids
from tests.support.pods import LocalPod

SETTINGS = {
    # One window for the events of a test.
    "BUTLER_WRITER_WINDOW_SECONDS": "600",
    "BUTLER_WRITER_MISSING_FILE_WAIT": "0.1",
    "BUTLER_WRITER_FILE_CHECK_TIMEOUT": "3",
    "BUTLER_WRITER_RETRY_WAIT_MAX": "0.5",
}


@pytest.fixture
def deployment(broker: Cluster, bucket: Bucket, topic_name: str, tmp_path: Path) -> Deployment:
    deployment = Deployment(broker, topic_name, tmp_path, settings=dict(SETTINGS))
    bucket.hold_artifacts_of(deployment)
    bucket.hold_lists_of(deployment)
    return deployment


def announced(deployment: Deployment, bucket: Bucket) -> list[str]:
    """Return the ids of every announced list, read from the bucket."""
    files = [
        json.loads(message.value or b"")["batch_file"] for message in deployment.announcements()
    ]
    assert sorted(bucket.keys("lists/")) == sorted(f"lists/{name}" for name in files)
    return deployment.announced_ids()


def test_artifacts_on_s3_become_datasets_that_can_be_read(
    deployment: Deployment, bucket: Bucket
) -> None:
    events = [Night().event(1, detector) for detector in range(3)]
    for event in events:
        bucket.upload(event)
    for dataset in events[1]["datasets"]:  # a pod may also send absolute URIs
        dataset["path"] = bucket.root + dataset["path"]
    deployment.settings["BUTLER_WRITER_WINDOW_EVENTS"] = "3"
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(*events)
        deployment.wait_done()
    butler = deployment.fresh_butler([RUN])
    assert set(stored_ids(butler)) == dataset_ids(*events)
    for detector in range(3):
        data_id = {"instrument": INSTRUMENT, "exposure": 1, "detector": detector}
        ref = butler.find_dataset("isr_log", data_id)
        assert ref is not None
        assert str(butler.getURI(ref)).startswith(bucket.root + RUN)
        assert butler.get(ref) == data_id
    assert sorted(announced(deployment, bucket)) == sorted(map(str, dataset_ids(*events)))
    assert deployment.dead_letters() == []


def test_outputs_stored_in_either_mode_can_be_read(
    deployment: Deployment, bucket: Bucket, make_pod: Callable[[int], LocalPod]
) -> None:
    staging = bucket.server.create_bucket(f"{bucket.name}-staging") + "pods/"
    deployment.settings["BUTLER_WRITER_STAGING_ROOTS"] = staging
    deployment.settings["BUTLER_WRITER_WINDOW_EVENTS"] = "2"
    topic = KafkaTopic(deployment.cluster.client_config, deployment.topic)
    writers = [
        PromptOutputWriter(topic, bucket.root),
        PromptOutputWriter(topic, staging, mode=Mode.STAGING),
    ]
    pods = [make_pod(0), make_pod(1)]
    with deployment.worker() as worker:
        worker.wait_ready()
        for writer, pod in zip(writers, pods, strict=True):
            writer.transfer_outputs(pod.butler, pod.records, pod.outputs)
        deployment.wait_done()
    central = deployment.fresh_butler()
    for pod in pods:
        for ref in pod.outputs:
            assert str(central.getURI(ref)).startswith(bucket.root + RUN)
            assert central.get(ref) == pod.butler.get(ref)
    assert list(ResourcePath.findFileResources([ResourcePath(staging)])) == []


def test_an_event_with_a_missing_artifact_is_set_aside_alone(
    deployment: Deployment, bucket: Bucket
) -> None:
    events = [Night().event(1, detector) for detector in range(4)]
    for n, event in enumerate(events):
        bucket.upload(event, but=5 if n == 2 else None)
    missing = events.pop(2)
    deployment.settings["BUTLER_WRITER_WINDOW_EVENTS"] = "4"
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(*events[:2], missing, *events[2:])
        deployment.wait_done()
        assert worker.log_text().count('"event": "window flushed"') == 1
    assert set(stored_ids(deployment.fresh_butler())) == dataset_ids(*events)
    assert set(announced(deployment, bucket)) == {str(i) for i in dataset_ids(*events)}
    (letter,) = deployment.dead_letters()
    assert json.loads(letter.value or b"") == missing
    headers = b" ".join(value for _, value in letter.headers).decode()
    assert "missing_file" in headers
    assert bucket.root + missing["datasets"][5]["path"] in headers


def test_nothing_is_set_aside_while_s3_is_unavailable(
    deployment: Deployment, bucket: Bucket, s3_door: S3Door
) -> None:
    deployment.settings["S3_ENDPOINT_URL"] = s3_door.url
    deployment.settings["BUTLER_WRITER_WINDOW_EVENTS"] = "1"
    events = [Night().event(1, detector) for detector in range(2)]
    for event in events:
        bucket.upload(event)
    with deployment.worker() as worker:
        worker.wait_ready()
        s3_door.shut()
        deployment.send(*events)
        worker.wait_for_log("step failed, will retry")
        assert worker.status("/readyz") == 503
        s3_door.open()
        deployment.wait_done()
        assert worker.status("/readyz") == 200
    assert set(stored_ids(deployment.fresh_butler())) == dataset_ids(*events)
    assert set(announced(deployment, bucket)) == {str(i) for i in dataset_ids(*events)}
    assert deployment.dead_letters() == []


def test_without_the_right_to_list_a_missing_file_holds_up_nothing(
    deployment: Deployment, bucket: Bucket, s3_door: S3Door
) -> None:
    deployment.settings["S3_ENDPOINT_URL"] = s3_door.url
    deployment.settings["BUTLER_WRITER_WINDOW_EVENTS"] = "3"
    events = [Night().event(1, detector) for detector in range(6)]
    for n, event in enumerate(events):
        bucket.upload(event, but=5 if n == 1 else None)
    missing = events.pop(1)
    s3_door.may_list = False
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(events[0], missing, events[1])
        deployment.wait_done()
        assert '"right": "s3:ListBucket"' in worker.log_text()

        s3_door.may_read = False
        deployment.send(*events[2:])
        worker.wait_for_log("denies access .*s3:GetObject and s3:ListBucket")
        assert worker.status("/readyz") == 503
        s3_door.may_read = True
        deployment.wait_done()
    assert set(stored_ids(deployment.fresh_butler())) == dataset_ids(*events)
    (letter,) = deployment.dead_letters()
    assert json.loads(letter.value or b"") == missing
    headers = b" ".join(value for _, value in letter.headers).decode()
    assert "missing_file" in headers
    assert f"{missing['datasets'][5]['path']} is missing, or not readable" in headers
    assert "s3:ListBucket" in headers


def test_without_the_right_to_list_a_missing_staged_file_is_named(
    deployment: Deployment, bucket: Bucket, s3_door: S3Door
) -> None:
    staging = Bucket(bucket.server, f"{bucket.name}-staging")
    bucket.server.create_bucket(staging.name)
    root = f"s3://{staging.name}/pods/"
    events = [Night().event(1, detector, staging=f"{root}{detector}/") for detector in range(4)]
    first, lone, last, absent = events
    for detector, event in enumerate(events[:3]):
        staging.upload(event, but=5 if event is lone else None, prefix=f"pods/{detector}/")
    deployment.settings |= {
        "S3_ENDPOINT_URL": s3_door.url,
        "BUTLER_WRITER_STAGING_ROOTS": root,
        "BUTLER_WRITER_WINDOW_EVENTS": "1",
    }
    known, other = Night().event(2), Night().event(3)
    bucket.upload(known)
    bucket.upload(other)
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(known)
        deployment.wait_done()
        s3_door.may_list = False
        deployment.send(first, lone, last, first)  # the last one was written before
        deployment.wait_done()
        (letter,) = deployment.dead_letters()
        assert json.loads(letter.value or b"") == lone
        headers = b" ".join(value for _, value in letter.headers).decode()
        assert f"{root}1/{lone['datasets'][5]['path']} is missing, or not readable" in headers
        assert "s3:ListBucket" in headers
        assert '"right": "s3:ListBucket"' in worker.log_text()

        # Nothing tells whether the staging area can be read at all; others are written meanwhile.
        deployment.send(absent, other)
        worker.wait_for_log(f"denies access .403. to {root}3/.*s3:ListBucket")
        wait_until(
            lambda: dataset_ids(other) <= {*stored_ids(deployment.fresh_butler())}, 60, "the other"
        )
        staging.upload(absent, prefix="pods/3/")
        deployment.wait_done()
    assert set(stored_ids(deployment.fresh_butler())) == dataset_ids(
        known, other, first, last, absent
    )
    assert len(deployment.dead_letters()) == 1


@pytest.mark.slow
def test_staged_artifacts_are_copied_from_another_bucket(
    deployment: Deployment, bucket: Bucket
) -> None:
    staging = Bucket(bucket.server, f"{bucket.name}-staging")
    bucket.server.create_bucket(staging.name)
    root = f"s3://{staging.name}/pods/"
    events = [Night().event(1, detector, staging=f"{root}{detector}/") for detector in range(4)]
    for detector, event in enumerate(events):
        staging.upload(event, but=5 if detector == 3 else None, prefix=f"pods/{detector}/")
    lost = events.pop()
    # One event's artifacts were copied before, but the event was not written.
    bucket.upload(events[1])
    deployment.settings["BUTLER_WRITER_STAGING_ROOTS"] = root
    deployment.settings["BUTLER_WRITER_WINDOW_EVENTS"] = "4"
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(*events, lost)
        deployment.wait_done()
    butler = deployment.fresh_butler([RUN])
    assert set(stored_ids(butler)) == dataset_ids(*events)
    for detector in range(3):
        data_id = {"instrument": INSTRUMENT, "exposure": 1, "detector": detector}
        assert butler.get("isr_log", data_id) == data_id
    assert sorted(announced(deployment, bucket)) == sorted(map(str, dataset_ids(*events)))
    (letter,) = deployment.dead_letters()
    assert (
        f"{root}3/{lost['datasets'][5]['path']} does not exist".encode()
        in dict(letter.headers).values()
    )
    # The event that was set aside can be replayed.
    assert len(staging.keys("pods/")) == 9

    for name in (bucket.name, staging.name):
        bucket.server.make_older(name, timedelta(days=2))
    kept = {name: Bucket(bucket.server, name).keys("") for name in (bucket.name, staging.name)}
    for searched, prefix in ((bucket, f"butler/{RUN}/"), (staging, "pods/17/")):
        searched.put(f"{prefix}left over.json", b"{}")
        bucket.server.make_older(searched.name, timedelta(days=2))
        searched.put(f"{prefix}new.json", b"{}")
    command = ("leftovers", "--older-than=1d", f"--folder={RUN}", "--delete")
    done = faust_command(deployment.environment, *command)
    assert "leftovers: staged=1 final=1 bytes=4 removed=2" in done.stdout, done.stderr
    for searched, prefix in ((bucket, f"butler/{RUN}/"), (staging, "pods/17/")):
        assert set(searched.keys("")) == {*kept[searched.name], f"{prefix}new.json"}
