"""The last half hour of all workers together."""

from __future__ import annotations

import pytest

from app.operations.pages.activity import combined
from app.telemetry.recent.activity import Interval

NOW = 1795745528.0


def test_the_intervals_of_all_workers_are_added() -> None:
    end = 1795745520
    one = [Interval(end - 20, 10, 100, 1, {0: 9}), Interval(end, 99, 99, 99)]
    two = [Interval(end - 1800, 5, 50), Interval(end - 20, 20, 200, 0, {50: 1})]
    old = [Interval(end - 1810, 7, 7)]
    found = combined(NOW, [one, two, old])
    assert (len(found.times), found.times[0], found.times[-1]) == (180, end - 1800, end - 10)
    assert (found.events_per_second[0], found.events_per_second[-2:]) == (0.5, [3.0, 0.0])
    assert found.datasets_per_second[-2] == 30
    assert found.dead_letters[-2] == 1
    assert found.longest_latency[-2] == pytest.approx(0.01 * 1.05**50)
    assert found.longest_latency[-1] is None


def test_without_workers_there_is_nothing() -> None:
    assert set(combined(NOW, []).events_per_second) == {0.0}
