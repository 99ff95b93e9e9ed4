"""The commands of the runbook and of docs/migrate.md are executed as they are printed.

A worker stands for the pod. A program ``kubectl`` of this test executes ``exec`` and ``logs`` on
this machine. What changes the StatefulSet starts and stops the worker. The rest needs a cluster and
is not executed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from testbed.cluster import Cluster
from testbed.postgresql import PostgreSQL, find_postgresql
from testbed.worker import CHECKOUT, Worker
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids, stored_ids
from tests.support.runbook import RunbookCommand, runbook_commands

COMMANDS = runbook_commands()

STOP = "kubectl patch statefulset butler-writer-service"
START = ("kubectl rollout undo", "kubectl rollout restart")

#: They need a Kubernetes cluster, Prometheus' Alertmanager, a group without members, or a file of
#: that name, or write a file.
NOT_EXECUTED = (
    "amtool silence add",
    "kubectl apply",
    "kubectl config set-context",
    "kubectl delete pod",
    "kubectl describe",
    "kubectl exec statefulset/butler-writer-service -- faust -A app skip",  # commands.md has it
    "kubectl exec statefulset/butler-writer-service -- ls",
    "kubectl get",
    "kubectl logs statefulset/butler-writer-service --previous --tail=-1 >",
    "kubectl patch kafkatopic",
    "kubectl patch kafkauser",
    "kubectl patch secret",
    "kubectl rollout status",
    "kubectl scale",
    "kubectl set",
    "kubectl wait",
)

KUBECTL = """#!/bin/sh
verb=$1
shift 2
case $verb in
    exec) shift; exec "$@" ;;
    logs) cat "$WORKER_LOG" ;;
    *) echo "kubectl $verb needs a cluster" >&2; exit 3 ;;
esac
"""

RESTORED = "Database restored from a backup"


class Pod:
    """A worker on which the runbook's commands act."""

    def __init__(self, deployment: Deployment, worker: Worker, folder: Path) -> None:
        self._worker = worker
        self.is_running = True
        programs = folder / "programs"
        programs.mkdir()
        (programs / "kubectl").write_text(KUBECTL)
        (programs / "kubectl").chmod(0o755)
        path = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        self._environment = {
            **deployment.environment,
            "PATH": ":".join(path),
            "HOME": str(folder),
            "BUTLER_WRITER_DATA_DIRECTORY": str(folder / "data"),
            "WORKER_LOG": str(worker.log),
        }

    def database(self, server: PostgreSQL) -> None:
        """Let ``psql`` find a database."""
        self._environment["PATH"] += f":{find_postgresql()}"
        self._environment |= {"PGHOST": "127.0.0.1", "PGPORT": str(server.port)}
        self._environment |= {"PGUSER": "postgres", "PGDATABASE": "postgres"}

    def do(self, command: RunbookCommand) -> str:
        """Execute a command, and return what it prints."""
        if command.text.startswith(NOT_EXECUTED):
            return ""
        if command.text.startswith((STOP, *START)):
            self._stop()
            if command.text.startswith(START):
                self._start()
            return ""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command.text.replace("(PID)", "(0)")],
            cwd=CHECKOUT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        # 1: a finding, or no line of the log that matches.
        may_find = "faust" in command.text or command.text.startswith("kubectl logs")
        assert done.returncode in ({0, 1} if may_find else {0}), (
            f"{command.section}: {command.text}\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def _stop(self) -> None:
        if self.is_running:
            self._worker.term()
            assert self._worker.wait() == 0
        self.is_running = False

    def _start(self) -> None:
        self._worker.start()
        self._worker.wait_ready()
        self.is_running = True


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    settings = {"BUTLER_WRITER_MISSING_FILE_WAIT": "0.1"}
    return Deployment(kafka, topic_name, tmp_path, settings=settings)


@pytest.fixture
def pod(deployment: Deployment, tmp_path: Path) -> Iterator[Pod]:
    with deployment.worker() as worker:
        worker.wait_ready()
        yield Pod(deployment, worker, tmp_path)


def test_each_command_is_executed_or_needs_a_cluster() -> None:
    executed = ("kubectl exec", "kubectl logs", "psql", STOP, *START)
    for command in COMMANDS:
        assert command.text.startswith((*executed, *NOT_EXECUTED)), command.text
        assert "faust" not in command.text or command.text.startswith("kubectl exec")


@pytest.mark.kafka
@pytest.mark.postgresql
@pytest.mark.timeout(300)
def test_commands_for_a_running_worker_work_as_printed(
    deployment: Deployment, pod: Pod, postgresql: PostgreSQL
) -> None:
    pod.database(postgresql)
    night = Night(deployment.root)
    unknown, lost = night.event(1, 1), night.event(1, 2)
    lost["datasets"][0]["path"] += ".lost"
    for ref in unknown["datasets"][0]["refs"].values():
        ref["dataset_type_name"] = "not_yet"
    deployment.send(night.event(1, 0), unknown, lost)
    deployment.wait_done()
    assert len(deployment.dead_letters()) == 2

    lines = {
        command.text.split(" | ")[0]: command
        for command in COMMANDS
        if command.section != RESTORED and not command.text.startswith((STOP, *START))
    }
    replays = [command for text, command in lines.items() if " replay " in text]
    others = [command for command in lines.values() if command not in replays]
    with ThreadPoolExecutor(3) as pool:
        printed = dict(zip(others, pool.map(pod.do, others), strict=True))
    for command in replays:
        pod.do(command)

    listed = next(out for command, out in printed.items() if "letters list | tail" in command.text)
    assert "missing_file" in listed
    assert "unknown_dataset_type" in listed
    deployment.wait_done()


@pytest.mark.kafka
def test_a_restored_database_gets_back_what_was_written_since_its_backup(
    deployment: Deployment, pod: Pod
) -> None:
    """The section is followed as it is printed."""
    database, backup = deployment.root / "gen3.sqlite3", deployment.folder / "backup"
    night = Night(deployment.root)
    before, since = night.event(1, 0), [night.event(2, detector) for detector in range(3)]
    deployment.send(before)
    deployment.wait_done()
    shutil.copy(database, backup)
    deployment.send(*since)
    deployment.wait_done()

    stopping, *_ = [command for command in COMMANDS if command.text.startswith(STOP)]
    pod.do(stopping)
    shutil.copy(backup, database)
    assert stored(deployment) == dataset_ids(before)
    for command in COMMANDS:
        if command.section == RESTORED:
            pod.do(command)
            if command.text.startswith(START):
                deployment.wait_done()

    assert pod.is_running
    assert stored(deployment) == dataset_ids(before, *since)


def stored(deployment: Deployment) -> set[object]:
    butler: Butler = deployment.fresh_butler()
    return set(stored_ids(butler))
