"""The gauges show a worker's state at the moment at which Prometheus asks."""

from __future__ import annotations

import time
from typing import Any

import pytest
from prometheus_client import REGISTRY

from app.butler.away import LostStoreError, StoreError
from app.intake.intake import Intake
from app.intake.windows import WindowBounds
from app.telemetry.labels import Step
from app.telemetry.readings import Readings
from app.telemetry.status import Status
from app.telemetry.step_failures import StepFailures

BOUNDS = WindowBounds(1.0, 10, 1000)


class Scene:
    """A worker's state, and how it is read."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.status = Status(step_failures=StepFailures(lambda: self.now))
        self.intake: Intake[Any] = Intake(BOUNDS, 5000, lambda now: now + 1)
        self._readings = Readings(self.status, self.intake)

    def series(self, name: str, ends: dict[tuple[str, int], int] | None = None) -> dict[str, float]:
        """Return the value of each series by the value of its label."""
        self._readings.take(ends or {}, 3)
        (family,) = (each for each in REGISTRY.collect() if each.name == f"butler_writer_{name}")
        samples = [each for each in family.samples if not each.name.endswith("_created")]
        return {next(iter(each.labels.values()), ""): each.value for each in samples}


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_series_of_a_partition_exist_while_it_is_assigned(scene: Scene) -> None:
    ends = {("t", 0): 4, ("t", 2): 9}
    assert scene.series("consumer_lag", ends) == {}
    scene.intake.start_at({("t", 0): 4, ("t", 2): 6})
    scene.intake.receive(("t", 2), 6, 10, list, now=time.monotonic() - 50)
    assert scene.series("consumer_lag", ends) == {"0": 0, "2": 3}
    ages = scene.series("oldest_unacked_seconds")
    assert ages == {"0": 0, "2": pytest.approx(50, abs=20)}
    assert scene.series("assigned_partitions") == {"": 2}
    assert scene.series("input_partitions") == {"": 3}
    scene.intake.revoke()
    scene.intake.start_at({("t", 1): 0})
    assert scene.series("consumer_lag", ends) == {"1": 0}
    assert scene.series("oldest_unacked_seconds") == {"1": 0}


def test_gaps_are_counted_once(scene: Scene) -> None:
    (before,) = scene.series("accepted_gaps").values()
    scene.intake.start_at({("t", 0): 0})
    scene.intake.ledger.fetches.note(("t", 0), 0, [], 2)
    scene.intake.ledger.pass_over_gaps()
    for _ in range(2):
        assert scene.series("accepted_gaps") == {"": before + 1}


def test_a_step_fails_since_its_first_failure(scene: Scene) -> None:
    others = dict.fromkeys(map(str, Step), 0)
    scene.status.failed("write", 0, OSError("gone"))
    scene.now += 20
    scene.status.failed("write", 1, OSError("gone"))
    scene.status.failed("write", 0, OSError("gone"))
    assert scene.series("step_failing_seconds") == others | {"write": 20}
    scene.status.ended("write", 0)
    scene.now += 5
    assert scene.series("step_failing_seconds") == others | {"write": 5}
    scene.status.ended("write", 1)
    assert scene.series("step_failing_seconds") == others | {"write": 0}


def test_what_does_not_answer_is_not_up(scene: Scene) -> None:
    up = {"kafka": 1, "database": 1, "datastore": 1}
    assert scene.series("dependency_up") == up
    scene.status.cannot_use("Kafka", "no answer")
    scene.status.cannot_use("the repository", "no answer", key="start 1")
    assert scene.series("dependency_up") == up | {"kafka": 0, "database": 0}
    scene.status.can_use("Kafka")
    scene.status.cannot_use("the list directory", "no answer", key="start 1")
    assert scene.series("dependency_up") == up | {"datastore": 0}
    scene.status.can_use("start 1")
    assert scene.series("dependency_up") == up


def test_a_store_is_not_up_while_a_step_fails_because_of_it(scene: Scene) -> None:
    scene.status.failed("read", 0, StoreError("no answer"))
    assert scene.series("dependency_up") == {"kafka": 1, "database": 1, "datastore": 0}
    assert scene.series("store_lost") == {"": 0}
    scene.status.failed("read", 0, LostStoreError("no root"))
    assert scene.series("store_lost") == {"": 1}
    scene.status.failed("read", 0, ValueError("something else"))
    assert scene.series("dependency_up")["datastore"] == 1
    assert scene.series("store_lost") == {"": 0}


def test_the_readiness_is_a_metric(scene: Scene) -> None:
    assert scene.series("ready") == {"": 0}
    scene.status.assigned()
    assert scene.series("ready") == {"": 1}
