"""The steps of a flush."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from agents.steps import until_done
from app.butler.failures import AbandonedError, RetryableError
from app.parts import Parts
from app.telemetry.flush_reports import FlushReports, Step
from app.telemetry.status import Status


class Scene:
    """The parts that a step needs, and a step that fails so many times."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.status = Status()
        self.ready: list[str | None] = []
        parts: Any = type("Parts", (), {})
        parts.reports = FlushReports(self.status)
        parts.retry_wait_max = 0.01
        self.parts = cast("Parts", parts)
        self.taken = 0

    def __repr__(self) -> str:
        raise AssertionError("the text of a whole window takes longer than its write")

    async def step(self) -> None:
        self.ready.append(self.status.not_ready)
        if self.failures:
            raise self.failures.pop(0)
        self.taken += 1


def run(scene: Scene, *, is_current: bool = True) -> None:
    scene.status.assigned()
    asyncio.run(until_done(Step.WRITE, scene.step, scene.parts, lambda: is_current))


def test_a_step_is_taken_without_formatting_what_its_window_holds() -> None:
    scene = Scene()
    run(scene)
    assert scene.taken == 1


def test_a_failed_step_is_tried_again_and_the_worker_is_not_ready_until_it_succeeds() -> None:
    scene = Scene(RetryableError("the database is away"), ZeroDivisionError())
    run(scene)
    assert scene.taken == 1
    assert scene.ready == [
        None,
        "write is failing: RetryableError: the database is away",
        "write is failing: ZeroDivisionError: ",
    ]
    assert scene.status.not_ready is None


def test_a_window_whose_partitions_were_revoked_takes_no_step() -> None:
    scene = Scene()
    with pytest.raises(AbandonedError):
        run(scene, is_current=False)
    assert scene.taken == 0


def test_the_names_of_steps_are_those_that_dashboards_select_by() -> None:
    assert list(Step) == ["read", "write", "prepend_to_chains", "set_aside", "announce"]
