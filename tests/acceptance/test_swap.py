"""The deployed service is replaced by a worker and comes back, under load."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from uuid import UUID

import pytest

from testbed.process import ChildProcess
from tests.acceptance.laboratory import Laboratory
from tests.support.deployment import Deployment
from tests.support.peer import start_peer, wait_gone, wait_kept_out


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_deployed_service_is_replaced_and_comes_back(laboratory: Laboratory) -> None:
    """It has its batches of 500 events or 30 s, and stays in the group for 45 s after its end."""
    deployment = laboratory.deployment
    with ExitStack() as stack:

        def start_deployed_service() -> ChildProcess:
            process = start_peer(deployment)
            stack.callback(process.kill)
            return process

        with laboratory.pods.load(rate=20):
            first = start_deployed_service()
            laboratory.wait_finished(100)
            worker = laboratory.start_unready()
            wait_kept_out(deployment, worker)
            first.kill()
            wait_gone(deployment)
            gone_at = time.monotonic()
            worker.wait_ready()
            assert time.monotonic() - gone_at < 10
            laboratory.wait_finished(100)

            second = start_deployed_service()
            assert second.wait(60) == 1
            assert "Inconsistent group protocol" in second.log_text()
            laboratory.wait_finished(100)
            laboratory.stop(worker)
            start_deployed_service()
            laboratory.wait_finished(100)
        deployment.wait_done(240)
        laboratory.reconcile(by_others=written_by_others(deployment))


def written_by_others(deployment: Deployment) -> set[UUID]:
    """Return the datasets that no list of a worker names; its batch ids are those of version 5."""
    lists = [json.loads(file.read_text()) for file in deployment.lists.iterdir()]
    names: dict[bool, set[UUID]] = {True: set(), False: set()}
    for each in lists:
        names[UUID(each["batch_id"]).version == 5] |= set(map(UUID, each["datasets"]))
    assert all(names.values())
    return names[False] - names[True]
