"""A step that hangs is visible, and ends the worker before long (rule stuck-workers-end)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.telemetry.flush_reports import Step
from testbed.cluster import Cluster
from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import check_all_written

pytestmark = [pytest.mark.kafka, pytest.mark.postgresql]


@pytest.fixture
def deployment(
    kafka: Cluster, private_postgresql: PostgreSQL, topic_name: str, tmp_path: Path
) -> Deployment:
    database = private_postgresql.create_database("butler")
    settings = {
        "BUTLER_WRITER_STEP_WARNING_SECONDS": "1",
        "BUTLER_WRITER_RETRY_WAIT_MAX": "1",
    }
    return Deployment(kafka, topic_name, tmp_path, database=database, settings=settings)


def running_seconds(worker: Worker) -> dict[str, float]:
    """Return for how long each step has been running."""
    return {
        sample.labels["step"]: sample.value
        for family in text_string_to_metric_families(worker.page("/metrics"))
        for sample in family.samples
        if sample.name == "butler_writer_step_running_seconds"
    }


def test_a_worker_is_not_ready_while_its_database_is_frozen(
    deployment: Deployment, private_postgresql: PostgreSQL
) -> None:
    events = [Night(deployment.root).event(1, detector) for detector in range(3)]
    with deployment.worker() as worker:
        worker.wait_ready()
        assert running_seconds(worker) == {step.value: 0 for step in Step}

        private_postgresql.freeze()
        deployment.send(*events)
        worker.wait_for_log("a step is slow")

        assert worker.status("/readyz") == 503
        assert "has been running for" in worker.state()["not_ready"]
        assert max(running_seconds(worker).values()) > 1
        assert worker.status("/livez") == 200

        private_postgresql.thaw()
        deployment.wait_done()
        wait_until(lambda: worker.status("/readyz") == 200, 30, "the worker is ready again")
        worker.wait_for_log("a slow step has ended")
    check_all_written(deployment, events)


def test_a_worker_ends_when_a_step_outlasts_its_maximum(
    deployment: Deployment, private_postgresql: PostgreSQL
) -> None:
    events = [Night(deployment.root).event(1, detector) for detector in range(3)]
    with deployment.worker(BUTLER_WRITER_STEP_MAX_SECONDS="4") as worker:
        worker.wait_ready()
        private_postgresql.freeze()
        deployment.send(*events)

        assert worker.wait(60) == 1

        last = json.loads(worker.log_text().splitlines()[-1])
        assert last["event"] == "a step hangs, ending the worker"
        assert last["level"] == "critical"
        assert "has been running for" in last["reason"]

        private_postgresql.thaw()
        worker.start()
        deployment.wait_done()
    check_all_written(deployment, events)
