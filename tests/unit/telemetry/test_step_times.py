"""A step that runs for long is reported, and one that hangs is a reason to end the process."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from app.telemetry.status import Status
from app.telemetry.step_times import StepTimes


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_seconds(self, times: StepTimes, seconds: int) -> str | None:
        """Let seconds pass, with a check in each; return the last check's reason."""
        reason = None
        for _ in range(seconds):
            self.now += 1
            reason = times.check()
        return reason


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def times(clock: Clock) -> StepTimes:
    return StepTimes(warning_seconds=30, max_seconds=300, clock=clock)


def test_a_step_that_runs_for_long_makes_the_worker_not_ready(
    clock: Clock, times: StepTimes
) -> None:
    status = Status(step_times=times)
    status.assigned()
    with times.running("write", lane=0):
        clock.pass_seconds(times, 30)
        assert status.not_ready is None
        clock.pass_seconds(times, 1)
        assert status.not_ready == "write has been running for 31 s"
        assert times.seconds("write") == 31
    assert status.not_ready is None
    assert times.seconds("write") == 0


def test_a_slow_step_is_logged_once_and_when_it_ends(clock: Clock, times: StepTimes) -> None:
    with capture_logs() as lines:
        with times.running("announce", lane=0):
            clock.pass_seconds(times, 100)
        with times.running("announce", lane=0):
            clock.pass_seconds(times, 20)
    assert [(line["event"], line["step"], line["seconds"]) for line in lines] == [
        ("a step is slow", "announce", 31),
        ("a slow step has ended", "announce", 100),
    ]


def test_a_step_that_outlasts_the_maximum_is_a_reason_to_end(
    clock: Clock, times: StepTimes
) -> None:
    with times.running("read", lane=0):
        assert clock.pass_seconds(times, 300) is None
        assert clock.pass_seconds(times, 1) == "read has been running for 301 s"


def test_each_attempt_has_the_maximum_for_itself(clock: Clock, times: StepTimes) -> None:
    for _ in range(5):
        with times.running("write", lane=0):
            assert clock.pass_seconds(times, 200) is None


@pytest.mark.parametrize("other", ["read", "write"])
def test_the_steps_of_two_lanes_are_measured_separately(
    clock: Clock, times: StepTimes, other: str
) -> None:
    with times.running("write", lane=1):
        clock.pass_seconds(times, 40)
        with times.running(other, lane=0):
            clock.pass_seconds(times, 10)
            assert times.slow == {"write": 50}
            assert times.seconds(other) == (50 if other == "write" else 10)
        assert times.slow == {"write": 50}


def test_time_in_which_the_process_was_frozen_does_not_count(
    clock: Clock, times: StepTimes
) -> None:
    with times.running("write", lane=0):
        clock.pass_seconds(times, 5)
        clock.now += 1000
        assert clock.pass_seconds(times, 1) is None
        assert times.slow == {}
        assert clock.pass_seconds(times, 300) == "write has been running for 305 s"
