"""What a worker has finished is counted, in total and for the last minute."""

from __future__ import annotations

import pytest

from app.telemetry.recent.activity import Activity, percentile


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def activity(clock: Clock) -> Activity:
    return Activity(clock=clock)


def flushed(activity: Activity, events: int, dead_letters: int = 0) -> None:
    activity.flushed(
        events=events, inserted=10 * events, already_there=events, dead_letters=dead_letters
    )


def test_totals_count_from_the_start(activity: Activity, clock: Clock) -> None:
    flushed(activity, 3)
    clock.now += 10_000
    flushed(activity, 4, dead_letters=1)
    totals = activity.totals
    assert (totals.flushes, totals.events, totals.datasets) == (2, 7, 77)
    assert (totals.inserted, totals.already_there, totals.dead_letters) == (70, 7, 1)


def test_the_last_minute_forgets_what_is_older(activity: Activity, clock: Clock) -> None:
    flushed(activity, 5)
    clock.now += 55
    flushed(activity, 3)
    assert (activity.minute().events, activity.minute().seconds) == (8, 55)
    clock.now += 20
    assert (activity.minute().events, activity.minute().datasets) == (3, 33)
    clock.now += 60
    assert activity.minute().events == 0
    assert 60 <= activity.minute().seconds <= 70


def test_a_worker_that_has_just_started_has_no_endless_rate(activity: Activity) -> None:
    flushed(activity, 5)
    assert activity.minute().seconds == 1


def test_dead_letters_of_the_last_hour_are_counted(activity: Activity, clock: Clock) -> None:
    flushed(activity, 5, dead_letters=2)
    clock.now += 1800
    flushed(activity, 5, dead_letters=3)
    assert activity.dead_letters_since(clock.now - 3600) == 5
    clock.now += 2400
    assert activity.dead_letters_since(clock.now - 3600) == 3
    for _ in range(5000):
        clock.now += 10
        flushed(activity, 1)
    assert len(activity.since(0)) == 361


def test_events_since_a_time_are_counted(activity: Activity, clock: Clock) -> None:
    began = clock.now
    flushed(activity, 8, dead_letters=1)
    clock.now += 900
    flushed(activity, 3)
    assert activity.events_since(began - 10) == 11
    assert activity.events_since(began + 10) == 3


def test_a_clock_that_is_set_back_loses_nothing(activity: Activity, clock: Clock) -> None:
    flushed(activity, 5)
    clock.now -= 1000
    flushed(activity, 5)
    (interval,) = activity.since(0)
    assert interval.events == 10


def test_percentiles_of_latencies_are_right_to_five_percent(activity: Activity) -> None:
    activity.acked(number / 100 for number in range(1, 1001))
    counts = activity.minute().latencies
    assert percentile(counts, 0.5) == pytest.approx(5.0, rel=0.05)
    assert percentile(counts, 0.99) == pytest.approx(9.9, rel=0.05)
    assert percentile({}, 0.5) is None


@pytest.mark.parametrize("latency", [0.0, 1e-9, 1e9])
def test_absurd_latencies_are_counted(activity: Activity, latency: float) -> None:
    activity.acked([latency])
    assert sum(activity.minute().latencies.values()) == 1
