"""Workers that die, freeze, join and leave while events keep coming."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from testbed.waiting import wait_until
from tests.acceptance.laboratory import FAIL_POINTS, Laboratory
from tests.support.events import stored_ids


@pytest.mark.slow
def test_one_of_two_workers_is_killed_repeatedly(laboratory: Laboratory) -> None:
    rng = random.Random(1)
    workers = laboratory.start(2)
    with laboratory.pods.load():
        for _ in range(6):
            time.sleep(rng.uniform(0.5, 4.0))  # deliberately at a random moment
            victim = rng.choice(workers)
            laboratory.kill(victim)
            laboratory.restart(victim)
    laboratory.reconcile()


@pytest.mark.parametrize(
    "moment",
    [
        "shared-rows",
        pytest.param("database-commit", marks=pytest.mark.slow),
        pytest.param("announcement", marks=pytest.mark.slow),
        pytest.param("product-log", marks=pytest.mark.slow),
        pytest.param("offset-commit", marks=pytest.mark.slow),
    ],
    ids=[
        "between the commit of shared rows and the window's",
        "after the database commit",
        "between database commit and announcement",
        "between announcement and product log",
        "between product log and offset commit",
    ],
)
def test_a_worker_dies(laboratory: Laboratory, tmp_path: Path, moment: str) -> None:
    mark = tmp_path / "died"
    (worker,) = laboratory.start(
        PYTHONPATH=str(FAIL_POINTS), FAIL_POINT=moment, FAIL_POINT_MARK=str(mark)
    )
    with laboratory.pods.load():
        wait_until(mark.exists, 60, f"the worker dies at {moment}")
        assert worker.wait(30) == -9
        laboratory.kills += 1
        stored = set(stored_ids(laboratory.deployment.fresh_butler()))
        announced = set(map(UUID, laboratory.deployment.announced_ids()))
        if moment == "product-log":
            assert announced - set(map(UUID, laboratory.deployment.logged_ids()))
        elif moment == "offset-commit":  # offsets are committed at their own interval
            assert announced
        elif moment != "shared-rows":
            assert stored - announced
        laboratory.restart(worker)
    redelivered = laboratory.reconcile().redelivered  # datasets that were in the Butler before
    if moment != "shared-rows":
        assert redelivered > 0


@pytest.mark.slow
def test_sigterm_under_load_is_an_orderly_shutdown(laboratory: Laboratory) -> None:
    (worker,) = laboratory.start()
    with laboratory.pods.load():
        laboratory.wait_finished(20)
        worker.term()
        assert worker.wait(25) == 0
        laboratory.restart(worker)
    assert laboratory.reconcile().redelivered == 0


@pytest.mark.slow
def test_workers_are_frozen_for_longer_than_their_session(laboratory: Laboratory) -> None:
    """Each resumes with a window whose partitions another worker has by then."""
    workers = laboratory.start(2)
    everything = {f"{laboratory.deployment.topic}-{n}" for n in range(2)}
    with laboratory.pods.load():
        for frozen, other in (workers, reversed(workers)):
            wait_until(lambda: len(laboratory.busy(*workers)) == 2, 60, "both workers are busy")
            laboratory.wait_finished(20)
            frozen.stop_process()
            wait_until(
                lambda: set(other.state()["partitions"]) == everything,  # noqa: B023
                60,
                "the other worker takes over",
            )
            laboratory.wait_finished(20)
            frozen.continue_process()
        wait_until(lambda: len(laboratory.busy(*workers)) == 2, 90, "the frozen worker is back")
    laboratory.reconcile()


@pytest.mark.slow
def test_a_worker_joins_and_leaves_under_load(laboratory: Laboratory) -> None:
    laboratory.start()
    with laboratory.pods.load():
        for _ in range(2):
            (guest,) = laboratory.start()
            wait_until(lambda: laboratory.busy(guest), 60, "the new worker has a partition")  # noqa: B023
            laboratory.wait_finished(20)
            guest.term()
            assert guest.wait(40) == 0
    laboratory.reconcile()


@pytest.mark.slow
def test_a_spare_worker_takes_over(laboratory: Laboratory) -> None:
    workers = laboratory.start(3)
    wait_until(lambda: len(laboratory.busy(*workers)) == 2, 60, "two workers are busy")
    with laboratory.pods.load():
        laboratory.wait_finished(20)
        victim = laboratory.busy(*workers)[0]
        (spare,) = [worker for worker in workers if worker not in laboratory.busy(*workers)]
        laboratory.kill(victim)
        wait_until(lambda: laboratory.busy(spare), 60, "the spare worker has a partition")
    laboratory.reconcile()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_recovery_of_a_table_skips_no_event_in_25_restarts(
    make_laboratory: Callable[..., Laboratory],
) -> None:
    """The worker is killed and shut down in turn; each time there is more to recover."""
    laboratory = make_laboratory(settings={"BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "3"})
    changelog = f"{laboratory.deployment.group}-chains-changelog"
    (worker,) = laboratory.start()
    with laboratory.pods.load(rate=10):
        for number in range(25):
            laboratory.wait_finished(10)
            state = {"chain": f"chain {number}", "runs": []}
            laboratory.deployment.cluster.produce(
                changelog, json.dumps(state).encode(), key=json.dumps(state["chain"]).encode()
            )
            if number % 2:
                worker.term()
                worker.wait(40)
            else:
                laboratory.kill(worker)
            laboratory.restart(worker)
    laboratory.reconcile()
