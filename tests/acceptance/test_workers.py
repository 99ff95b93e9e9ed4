"""Workers that die, freeze, come and go, while events keep coming."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.acceptance.laboratory import FAIL_POINTS, Laboratory
from tests.parts.waiting import wait_until


@pytest.mark.slow
def test_one_of_two_workers_is_killed_again_and_again(laboratory: Laboratory) -> None:
    rng = random.Random(laboratory.seed)
    workers = laboratory.start(2)
    with laboratory.load():
        for _ in range(5):
            time.sleep(rng.uniform(0.5, 4.0))  # a random moment is the point
            victim = rng.choice(workers)
            laboratory.kill(victim)
            victim.start()
            victim.wait_ready(120)
    laboratory.make_books()


@pytest.mark.parametrize(
    "place",
    [
        "database-commit",
        pytest.param("announcement", marks=pytest.mark.slow),
        pytest.param("offset-commit", marks=pytest.mark.slow),
    ],
)
def test_a_worker_dies_at_the_worst_moment(
    laboratory: Laboratory, tmp_path: Path, place: str
) -> None:
    mark = tmp_path / "died"
    environment = {
        "PYTHONPATH": str(FAIL_POINTS),
        "FAIL_POINT": place,
        "FAIL_POINT_MARK": str(mark),
    }
    (worker,) = laboratory.start(**environment)
    with laboratory.load():
        wait_until(mark.exists, 60, f"the worker dies at {place}")
        worker.wait(30)
        laboratory.kills += 1
        worker.start()
        worker.wait_ready(120)
    tally = laboratory.make_books()
    if place != "announcement":
        assert tally.written > 0


def test_sigterm_under_load_ends_in_good_order(laboratory: Laboratory) -> None:
    (worker,) = laboratory.start()
    with laboratory.load():
        wait_until(lambda: laboratory.deployment.committed() > 20, 60, "events are written")
        worker.term()
        assert worker.wait(40) == 0
    laboratory.start()
    assert laboratory.make_books().redelivered == 0


@pytest.mark.slow
def test_a_frozen_worker_comes_back_after_its_session(laboratory: Laboratory) -> None:
    workers = laboratory.start(2)
    with laboratory.load():
        wait_until(lambda: len(laboratory.busy(workers)) == 2, 60, "both workers are busy")
        frozen, other = workers
        frozen.stop_process()
        everything = {f"{laboratory.deployment.topic}-{n}" for n in range(2)}
        wait_until(
            lambda: set(other.state()["partitions"]) == everything, 60, "the other one takes over"
        )
        frozen.continue_process()
        wait_until(lambda: len(laboratory.busy(workers)) == 2, 90, "the frozen one is back")
    laboratory.make_books()


@pytest.mark.slow
def test_a_worker_joins_and_leaves_under_load(laboratory: Laboratory) -> None:
    laboratory.start()
    with laboratory.load():
        for _ in range(2):
            (guest,) = laboratory.start()
            wait_until(lambda: laboratory.busy([guest]), 60, "the guest has a partition")  # noqa: B023
            guest.term()
            assert guest.wait(40) == 0
    laboratory.make_books()


@pytest.mark.slow
def test_a_spare_worker_takes_over(laboratory: Laboratory) -> None:
    workers = laboratory.start(3)
    wait_until(lambda: len(laboratory.busy(workers)) == 2, 60, "two workers are busy")
    with laboratory.load():
        victim = laboratory.busy(workers)[0]
        (spare,) = [worker for worker in workers if worker not in laboratory.busy(workers)]
        laboratory.kill(victim)
        wait_until(lambda: laboratory.busy([spare]), 60, "the spare one has a partition")
    laboratory.make_books()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_recovery_of_a_table_skips_no_event_in_25_restarts(laboratory: Laboratory) -> None:
    (worker,) = laboratory.start()
    with laboratory.load():
        wait_until(lambda: laboratory.deployment.committed() > 20, 60, "the table has something")
        for _ in range(25):
            laboratory.kill(worker)
            worker.start()
            worker.wait_ready(120)
    laboratory.make_books()
