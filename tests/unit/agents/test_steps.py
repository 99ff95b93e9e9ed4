"""The steps of a flush."""

from __future__ import annotations

import asyncio

import pytest

from agents import steps
from agents.steps import until_done
from app.butler.failures import AbandonedError, RetryableError
from app.telemetry.flush_reports import FlushReports
from app.telemetry.labels import Step
from app.telemetry.status import Status


class Scene:
    """The reports that a step needs, and a step that fails with each given error."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.status = Status()
        self.ready: list[str | None] = []
        self.reports = FlushReports(self.status, 0)
        self.runs = 0

    def __repr__(self) -> str:
        raise AssertionError("formatting a window takes longer than writing it")

    async def step(self) -> None:
        self.ready.append(self.status.not_ready)
        if self.failures:
            raise self.failures.pop(0)
        self.runs += 1


def run(scene: Scene, *, is_current: bool = True) -> None:
    scene.status.assigned()
    asyncio.run(until_done(Step.WRITE, scene.step, scene.reports, 0.01, lambda: is_current))


def test_a_step_runs_without_formatting_its_window() -> None:
    scene = Scene()
    run(scene)
    assert scene.runs == 1


def test_a_failed_step_is_retried_and_the_worker_is_not_ready_until_it_succeeds() -> None:
    scene = Scene(RetryableError("the database is unavailable"), ZeroDivisionError())
    run(scene)
    assert scene.runs == 1
    assert scene.ready == [
        None,
        "write is failing: the database is unavailable",
        "write is failing: ZeroDivisionError",
    ]
    assert scene.status.not_ready is None


async def test_a_wait_ends_when_what_was_away_answers_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "FIRST_WAIT", 10_000.0)
    scene = Scene(RetryableError("the database is unavailable"))
    step = asyncio.ensure_future(
        until_done(Step.WRITE, scene.step, scene.reports, 10_000.0, lambda: True)
    )
    while not step.done():
        if scene.status.retrying:
            scene.status.pauses.end()
        await asyncio.sleep(0)
    assert scene.runs == 1


def test_no_step_runs_for_a_window_whose_partitions_were_revoked() -> None:
    scene = Scene()
    with pytest.raises(AbandonedError):
        run(scene, is_current=False)
    assert scene.runs == 0


def test_the_names_of_steps_in_metrics_do_not_change() -> None:
    assert list(Step) == [
        "read",
        "write",
        "prepend_to_chains",
        "set_aside",
        "announce",
        "log_products",
        "keep_waiting",
    ]
