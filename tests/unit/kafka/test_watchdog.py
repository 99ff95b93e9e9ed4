"""The watchdog ends a worker whose consumer is stuck, and no other (rule stuck-workers-end)."""

from __future__ import annotations

import pytest

from app.kafka.watchdog import Watchdog

P = ("pp-output", 0)
Q = ("pp-output", 1)


@pytest.fixture
def watchdog() -> Watchdog:
    return Watchdog(unassigned_limit=120.0, commit_limit=60.0)


def test_a_worker_without_an_assignment_for_too_long_is_ended(watchdog: Watchdog) -> None:
    assert watchdog.reason_to_end(1120.0, 1000.0, {}, {}) is None
    assert watchdog.reason_to_end(1121.0, 1000.0, {}, {}) == "no assignment for 121 s"


def test_a_worker_that_lost_its_membership_is_ended(watchdog: Watchdog) -> None:
    error = "GroupAuthorizationFailedError: butler-writer"
    reason = watchdog.reason_to_end(0.0, None, {P: 9}, {P: 9}, error)
    assert reason == f"no longer in the group: {error}"


def test_a_worker_that_cannot_join_the_group_is_not_ended_at_once(watchdog: Watchdog) -> None:
    assert watchdog.reason_to_end(50.0, 0.0, {}, {}, "InconsistentGroupProtocolError") is None


def test_a_spare_worker_is_not_ended(watchdog: Watchdog) -> None:
    for now in range(0, 100_000, 1000):
        assert watchdog.reason_to_end(now, None, {}, {}) is None


def test_a_worker_whose_commits_stall_is_ended(watchdog: Watchdog) -> None:
    assert watchdog.reason_to_end(0.0, None, {P: 9, Q: 5}, {P: 7, Q: 5}) is None
    assert watchdog.reason_to_end(60.0, None, {P: 20, Q: 5}, {P: 7, Q: 5}) is None
    reason = watchdog.reason_to_end(61.0, None, {P: 20, Q: 5}, {P: 7, Q: 5})
    assert reason == "commits of pp-output-0 stalled at offset 7"


def test_no_worker_is_ended_while_the_brokers_are_unreachable(watchdog: Watchdog) -> None:
    for now in range(0, 7200, 5):
        watchdog.restart_waits(now)
        assert watchdog.reason_to_end(now, 0.0, {P: 9}, {P: 7}) is None
    assert watchdog.reason_to_end(7195.0 + 60.0, None, {P: 9}, {P: 7}) is None
    assert watchdog.reason_to_end(7195.0 + 61.0, None, {P: 9}, {P: 7}) is not None
    assert watchdog.reason_to_end(7195.0 + 121.0, 0.0, {}, {}) == "no assignment for 121 s"


def test_a_worker_waits_only_if_something_is_overdue(watchdog: Watchdog) -> None:
    watchdog.reason_to_end(0.0, None, {P: 9}, {P: 9})
    assert not watchdog.is_waiting(1000.0, None)
    watchdog.reason_to_end(1000.0, None, {P: 9}, {P: 7})
    assert not watchdog.is_waiting(1001.0, None)
    assert watchdog.is_waiting(1005.0, None)
    assert watchdog.is_waiting(10.0, 0.0)


def test_slow_commits_are_not_a_stall(watchdog: Watchdog) -> None:
    for minute in range(100):
        acked = {P: minute + 5}
        assert watchdog.reason_to_end(minute * 60.0, None, acked, {P: minute}) is None


def test_hours_with_nothing_to_commit_are_not_a_stall(watchdog: Watchdog) -> None:
    assert watchdog.reason_to_end(0.0, None, {P: 9}, {P: 9}) is None
    assert watchdog.reason_to_end(7200.0, None, {P: 10}, {P: 9}) is None


def test_the_time_without_commits_restarts_for_a_reassigned_partition(watchdog: Watchdog) -> None:
    watchdog.reason_to_end(0.0, None, {P: 9}, {P: 7})
    watchdog.reason_to_end(50.0, None, {}, {})
    assert watchdog.reason_to_end(100.0, None, {P: 9}, {P: 7}) is None
