"""A worker that dies while it copies staged artifacts: no file is lost, none is left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import faust_command
from tests.acceptance.laboratory import FAIL_POINTS
from tests.support.deployment import Deployment
from tests.support.events import RUN, Night
from tests.support.flow import check_all_written


@pytest.fixture
def deployment(broker: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    staging = tmp_path / "staging"
    staging.mkdir()
    settings = {
        "BUTLER_WRITER_STAGING_ROOTS": str(staging),
        # One window for all events.
        "BUTLER_WRITER_WINDOW_SECONDS": "600",
        "BUTLER_WRITER_WINDOW_EVENTS": "3",
    }
    return Deployment(broker, topic_name, tmp_path, settings=settings)


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("moment", "passes", "least", "most"),
    [
        pytest.param("copy", 0, 0, 0, marks=pytest.mark.slow),
        ("copy", 15, 1, 29),
        pytest.param("database-write", 0, 30, 30, marks=pytest.mark.slow),
        pytest.param("database-commit", 0, 30, 30, marks=pytest.mark.slow),
    ],
    ids=["before the first copy", "between copies", "before the commit", "before the removal"],
)
def test_a_worker_dies_while_it_copies_artifacts_to_the_datastore(
    deployment: Deployment, tmp_path: Path, moment: str, passes: int, least: int, most: int
) -> None:
    staging, final, mark = tmp_path / "staging", deployment.root / RUN, tmp_path / "died"
    events = [Night(staging).event(1, detector, staging=staging.as_uri()) for detector in range(3)]
    dying = {
        "PYTHONPATH": str(FAIL_POINTS),
        "FAIL_POINT": moment,
        "FAIL_POINT_PASSES": str(passes),
        "FAIL_POINT_MARK": str(mark),
    }
    with deployment.worker(**dying) as worker:
        worker.wait_ready()
        deployment.send(*events)
        wait_until(mark.exists, 60, f"the worker dies at {moment}")
        worker.wait(30)
        assert len(files(staging)) == 30
        copied = [file for file in files(final) if file.suffix == ".json"]
        assert least <= len(copied) <= most
        butler = deployment.fresh_butler()
        committed = butler.query_all_datasets("*", find_first=False, limit=None)
        assert len(committed) == (30 if moment == "database-commit" else 0)
        worker.start()
        deployment.wait_done()
    check_all_written(deployment, events)
    assert files(staging) == set()

    two_days_ago = time.time() - 2 * 24 * 3600
    for folder in (staging, final):
        for path in sorted(folder.rglob("*"), reverse=True):
            os.utime(path, (two_days_ago, two_days_ago))
    cleaned = faust_command(
        deployment.environment, "leftovers", "--older-than=1d", f"--folder={RUN}", "--delete"
    )
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    # An incomplete copy has another name, and would be one file more.
    assert list(staging.iterdir()) == []
    assert len(files(final)) == 30
    check_all_written(deployment, events)
