"""``faust -A app diff``: its exit codes, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from testbed.cluster import Cluster
from testbed.worker import faust_command
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream, log_events
from tests.support.events import CHAIN, RUN, Night
from tests.support.product_import import import_products


@pytest.fixture
def deployment(broker: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(broker, topic_name, tmp_path)


def test_two_repositories_are_compared(deployment: Deployment, tmp_path: Path) -> None:
    (message,) = log_events(deployment, [Night(deployment.root).event(1, 0)])
    downstream = Downstream(deployment, tmp_path / "public")
    deployment.cluster.create_topic(f"{downstream.group}-waiting-changelog")
    done = faust_command(
        downstream.environment, "--json", "diff", str(deployment.root), "--since", "2020-01-01"
    )
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert {each["id"] for each in document["datasets"]} == {
        dataset_id for file in message.datasets for dataset_id in file["refs"]
    }
    assert document["summary"] == {
        **dict.fromkeys(("extra", "different", "same", "waiting", "held", "excluded"), 0),
        "missing": 10,
        "removed": 0,
    }


@pytest.mark.slow
def test_exit_codes_and_lines(deployment: Deployment, tmp_path: Path) -> None:
    (message,) = log_events(deployment, [Night(deployment.root).event(1, 0)])
    downstream = Downstream(deployment, tmp_path / "public")
    deployment.cluster.create_topic(f"{downstream.group}-waiting-changelog")
    source, pattern = str(deployment.root), f"{RUN[:-3]}*"
    done = faust_command(downstream.environment, "diff", source, "--run", pattern)
    *lines, summary = done.stdout.splitlines()
    assert done.returncode == 1, done.stderr
    assert {line.split("  ")[0] for line in lines} == {"missing"}
    assert summary.startswith("diff: missing=10 extra=0 different=0 same=0")

    with Butler.from_config(str(downstream.root), writeable=True) as butler:
        import_products(butler, [message], deployment.root)
    done = faust_command(downstream.environment, "diff", source, "--run", CHAIN)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("diff: missing=0 extra=0 different=0 same=10")

    as_writer = {**deployment.environment, "BUTLER_WRITER_ROLE": "write"}
    for environment, arguments, reason in (
        (downstream.environment, ["--run", "no*"], "--run no*: there is no run or chain"),
        (downstream.environment, [], "give --run, --since or --until"),
        (as_writer, ["--run", "*"], "BUTLER_WRITER_ROLE=write"),
    ):
        done = faust_command(environment, "diff", source, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert reason in line
