"""A worker that starts while something is away waits for it, and says so on its pages."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from testbed.embedded import EmbeddedBroker
from testbed.postgresql import PostgreSQL
from testbed.s3 import S3Door
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.buckets import Bucket
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import check_all_written


def reason(worker: Worker) -> str:
    """Return why a worker is not ready; empty if it has no pages yet."""
    try:
        urllib.request.urlopen(f"{worker.url}/readyz", timeout=10).close()
    except urllib.error.HTTPError as error:
        return str(json.loads(error.read())["reason"])
    except OSError:
        return ""
    return ""


def wait_until_waiting(worker: Worker, *names: str) -> None:
    wait_until(
        lambda: all(f"{name} does not answer: " in reason(worker) for name in names),
        40,
        lambda: f"the wait for {names}; it says {reason(worker)}",
    )
    assert worker.status("/livez") == 200


def warnings(worker: Worker) -> list[str]:
    """Return what a worker's warnings say that it waits for."""
    lines = [json.loads(line) for line in worker.log_text().splitlines()]
    return sorted(line["dependency"] for line in lines if line["event"] == "waiting to start")


@pytest.mark.postgresql
def test_a_worker_waits_for_the_database_and_the_list_directory_at_once(
    embedded_broker: EmbeddedBroker,
    private_postgresql: PostgreSQL,
    bucket: Bucket,
    s3_door: S3Door,
    topic_name: str,
    tmp_path: Path,
) -> None:
    settings = {**bucket.server.environment, "S3_ENDPOINT_URL": s3_door.url}
    url = private_postgresql.create_database("away")
    deployment = Deployment(embedded_broker, topic_name, tmp_path, database=url, settings=settings)
    event = Night(deployment.root).event(1)
    deployment.settings["OUTPUT_DATASET_LIST_DIRECTORY"] = bucket.lists
    private_postgresql.stop()
    s3_door.shut()
    with deployment.worker() as worker, deployment.worker() as other:
        wait_until_waiting(worker, "the database", "the list directory")
        wait_until_waiting(other, "the database")
        assert "Connection refused" in reason(worker)

        other.term()
        assert other.wait(10) == 0

        s3_door.open()
        private_postgresql.start()
        worker.wait_ready()
        assert warnings(worker) == ["the database", "the list directory"]
        deployment.send(event)
        deployment.wait_done()
    check_all_written(deployment, [event])


@pytest.mark.slow
def test_a_repository_on_a_file_system_that_is_not_mounted_is_waited_for(
    embedded_broker: EmbeddedBroker, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(embedded_broker, topic_name, tmp_path)
    elsewhere = deployment.root.rename(tmp_path / "elsewhere")
    deployment.root.mkdir()
    with deployment.worker() as worker:
        wait_until_waiting(worker, "the store")
        assert f"{deployment.root} is empty: is it mounted?" in reason(worker)
        deployment.root.rmdir()
        elsewhere.rename(deployment.root)
        worker.wait_ready()
