"""A stand-in for the deployed service, beside or instead of a deployment's workers."""

from __future__ import annotations

import sys
from itertools import count

from testbed.peer_service import SECONDS, SESSION
from testbed.process import ChildProcess
from testbed.waiting import wait_until
from testbed.worker import CHECKOUT, Worker
from tests.support.deployment import Deployment

__all__ = ["start_peer", "wait_gone", "wait_kept_out"]

_numbers = count(1)


def start_peer(deployment: Deployment, *, seconds: float = 30, session: float = 45) -> ChildProcess:
    """Start the stand-in with the environment of a deployment's workers.

    Parameters
    ----------
    deployment : `Deployment`
        The deployment.
    seconds : `float`
        For how long it collects events, if they are fewer than 500.
    session : `float`
        Seconds after its end in which it is still a member of the group.
    """
    environment = {**deployment.environment, SECONDS: f"{seconds:g}", SESSION: f"{session:g}"}
    return ChildProcess(
        [sys.executable, "-m", "testbed.peer_service"],
        log=deployment.folder / f"peer{next(_numbers)}.log",
        env={"PATH": "/usr/bin:/bin", "HOME": str(deployment.folder), **environment},
        cwd=CHECKOUT,
    )


def wait_kept_out(deployment: Deployment, worker: Worker) -> None:
    """Wait until a worker says on ``/readyz`` who keeps it out of the group."""
    reason = f"the members of the group {deployment.group} (1) share its partitions by 'range', "
    wait_until(lambda: worker.status("/readyz") == 503, 90, "the pages answer")
    wait_until(
        lambda: (worker.state()["not_ready"] or "").startswith(reason),
        60,
        lambda: str(worker.state()["not_ready"]),
    )


def wait_gone(deployment: Deployment) -> None:
    """Wait until the group has lost the stand-in, whose process was killed."""
    admin, group = deployment.cluster.admin, deployment.group

    def is_gone() -> bool:
        found = admin.describe_consumer_groups([group])[group].result(10)
        return all(member.client_id != "rdkafka" for member in found.members)

    wait_until(is_gone, 90, "the end of the session")
