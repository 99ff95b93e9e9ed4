"""Input: bad events, a backlog, wrong clocks, large events, and idle partitions."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from tests.acceptance.bad_events import KINDS, conflicting
from tests.acceptance.laboratory import Laboratory
from tests.support.events import Night, encode

MIB = 2**20


@pytest.mark.slow
def test_every_kind_of_bad_event_among_good_ones(laboratory: Laboratory) -> None:
    laboratory.start(2)
    night = Night(laboratory.deployment.root, seed=2)
    good = night.event(1000)
    laboratory.pods.send_value(encode(good), good)
    laboratory.deployment.wait_done()
    laboratory.pods.send_value(conflicting(good), None)
    laboratory.pods.send_value(None, None)
    for detector, kind in enumerate(KINDS):
        laboratory.pods.send(3)
        laboratory.pods.send_value(kind(night.event(1001, detector)), None)
    laboratory.pods.send(200, bad=0.05)
    laboratory.reconcile()


def test_pods_clocks_are_an_hour_off(laboratory: Laboratory) -> None:
    """Windows use the time of arrival, so the pods' clocks do not matter."""
    laboratory.start()
    night = Night(laboratory.deployment.root, seed=3)
    for detector, hours in enumerate((-1, 0, 1, -1, 0, 1)):
        clock = time.time() + 3600 * hours
        event = night.event(1, detector, sent_at=clock)
        laboratory.pods.send_value(encode(event), event, clock=clock)
    laboratory.reconcile(30)


def test_the_largest_event_is_written_and_a_larger_one_set_aside(laboratory: Laboratory) -> None:
    laboratory.start()
    night = Night(laboratory.deployment.root, seed=4)
    for detector, size in enumerate((10 * MIB, 10 * MIB + 1, 20_000)):
        event = night.event(1, detector, comment="")
        value = encode(event | {"comment": "x" * (size - len(encode(event)))})
        assert len(value) == size
        laboratory.pods.send_value(value, None if size > 10 * MIB else event)
    laboratory.reconcile()


@pytest.mark.slow
def test_partitions_become_idle(make_laboratory: Callable[..., Laboratory]) -> None:
    """The last events of each partition are written even if no event follows."""
    laboratory = make_laboratory(partitions=6)
    laboratory.start(2)
    laboratory.pods.send(4)
    laboratory.reconcile(30)
    laboratory.pods.send(2)
    laboratory.reconcile(30)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_bad_events_of_5_percent_under_load_with_killed_workers(laboratory: Laboratory) -> None:
    rng = random.Random(5)
    workers = laboratory.start(2)
    with laboratory.pods.load(rate=60, bad=0.05):
        for _ in range(3):
            laboratory.wait_finished(200)
            victim = rng.choice(workers)
            laboratory.kill(victim)
            laboratory.restart(victim)
    laboratory.reconcile()
