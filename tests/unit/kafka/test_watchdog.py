"""The watchdog ends a worker whose consumer is stuck, and no other (rule stuck-workers-end)."""

from __future__ import annotations

import pytest

from app.kafka.watchdog import Watchdog

P = ("pp-output", 0)
Q = ("pp-output", 1)


@pytest.fixture
def watchdog() -> Watchdog:
    return Watchdog(unassigned_limit=120.0, commit_limit=60.0)


def test_a_worker_that_is_never_assigned_again_is_ended(watchdog: Watchdog) -> None:
    assert watchdog.complaint(1120.0, 1000.0, {}, {}) is None
    assert watchdog.complaint(1121.0, 1000.0, {}, {}) == "no assignment for 121 s"


def test_a_worker_that_lost_its_membership_is_ended(watchdog: Watchdog) -> None:
    error = "GroupAuthorizationFailedError: butler-writer"
    said = watchdog.complaint(0.0, None, {P: 9}, {P: 9}, error)
    assert said == f"no longer in the group: {error}"


def test_a_worker_that_is_refused_as_it_joins_tries_again(watchdog: Watchdog) -> None:
    assert watchdog.complaint(50.0, 0.0, {}, {}, "InconsistentGroupProtocolError") is None


def test_a_spare_worker_is_left_alone(watchdog: Watchdog) -> None:
    for now in range(0, 100_000, 1000):
        assert watchdog.complaint(now, None, {}, {}) is None


def test_a_worker_whose_commits_stall_is_ended(watchdog: Watchdog) -> None:
    assert watchdog.complaint(0.0, None, {P: 9, Q: 5}, {P: 7, Q: 5}) is None
    assert watchdog.complaint(60.0, None, {P: 20, Q: 5}, {P: 7, Q: 5}) is None
    said = watchdog.complaint(61.0, None, {P: 20, Q: 5}, {P: 7, Q: 5})
    assert said == "commits of pp-output-0 stalled at offset 7"


def test_nobody_is_stuck_while_the_brokers_are_away(watchdog: Watchdog) -> None:
    for now in range(0, 7200, 5):
        watchdog.excuse(now)
        assert watchdog.complaint(now, 0.0, {P: 9}, {P: 7}) is None
    assert watchdog.complaint(7195.0 + 60.0, None, {P: 9}, {P: 7}) is None
    assert watchdog.complaint(7195.0 + 61.0, None, {P: 9}, {P: 7}) is not None
    assert watchdog.complaint(7195.0 + 121.0, 0.0, {}, {}) == "no assignment for 121 s"


def test_the_brokers_are_asked_for_only_when_something_is_due(watchdog: Watchdog) -> None:
    watchdog.complaint(0.0, None, {P: 9}, {P: 9})
    assert not watchdog.is_waiting(1000.0, None)
    watchdog.complaint(1000.0, None, {P: 9}, {P: 7})
    assert not watchdog.is_waiting(1001.0, None)
    assert watchdog.is_waiting(1005.0, None)
    assert watchdog.is_waiting(10.0, 0.0)


def test_commits_that_follow_slowly_are_no_stall(watchdog: Watchdog) -> None:
    for minute in range(100):
        acked = {P: minute + 5}
        assert watchdog.complaint(minute * 60.0, None, acked, {P: minute}) is None


def test_nothing_to_commit_for_hours_is_no_stall(watchdog: Watchdog) -> None:
    assert watchdog.complaint(0.0, None, {P: 9}, {P: 9}) is None
    assert watchdog.complaint(7200.0, None, {P: 10}, {P: 9}) is None


def test_a_partition_that_comes_back_is_judged_anew(watchdog: Watchdog) -> None:
    watchdog.complaint(0.0, None, {P: 9}, {P: 7})
    watchdog.complaint(50.0, None, {}, {})
    assert watchdog.complaint(100.0, None, {P: 9}, {P: 7}) is None
