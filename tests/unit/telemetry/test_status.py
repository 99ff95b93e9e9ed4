"""The log says when a worker becomes ready, and when it no longer is."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from app.telemetry.status import LOGIN_PATIENCE, Status
from app.telemetry.step_times import StepTimes


def test_only_changes_of_the_readiness_are_logged() -> None:
    status = Status()
    with capture_logs() as lines:
        status.log_readiness()
        status.assigned()
        for _ in range(3):
            status.log_readiness()
        status.failed("write", 0, OSError("gone"))
        for _ in range(3):
            status.log_readiness()
        status.ended("write", 0)
        status.log_readiness()

    assert [(line["event"], line.get("reason")) for line in lines] == [
        ("ready", None),
        ("not ready", "write is failing: OSError: gone"),
        ("ready", None),
    ]


def test_a_login_that_is_refused_for_a_minute_is_a_reason_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("app.telemetry.status.time.monotonic", lambda: now)
    status = Status()
    status.note_login("Kafka", "Kafka refuses the login")
    now += LOGIN_PATIENCE
    status.note_login("Kafka", "Kafka refuses the login")
    assert status.login_refused_for_long() is None
    now += 1
    assert status.login_refused_for_long() == "Kafka refuses the login"
    status.note_login("the database", None)
    assert status.login_refused_for_long() == "Kafka refuses the login"
    status.note_login("Kafka", None)
    assert status.login_refused_for_long() is None
    status.note_login("Kafka", "Kafka refuses the login")
    assert status.login_refused_for_long() is None


def test_a_worker_that_can_write_no_event_for_long_is_not_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("app.telemetry.status.time.monotonic", lambda: now)
    status = Status(step_times=StepTimes(warning_seconds=30.0))
    status.assigned()
    status.postponed("a lock")
    now += 20
    status.postponed("another lock")
    assert status.not_ready is None
    now += 20
    assert status.not_ready == "no event was finished for 40 s: a lock"
    status.flushed()
    assert status.not_ready is None


def test_a_worker_without_partitions_names_what_cannot_be_used() -> None:
    status = Status()
    assert status.not_ready == "waiting for partitions to be assigned"
    status.unavailable["Kafka"] = "Kafka user writer lacks READ on group g"
    assert status.not_ready == "Kafka user writer lacks READ on group g"


def test_a_step_that_fails_by_a_refused_login_says_what_to_check_once() -> None:
    status = Status()
    status.assigned()
    for step in ("read", "announce"):
        status.failed(step, 0, OSError("InvalidAccessKeyId"))
        status.note_login(step, "the file store refuses the login; check AWS_ACCESS_KEY_ID")
    assert status.not_ready == (
        "the file store refuses the login; check AWS_ACCESS_KEY_ID; "
        "read is failing: OSError: InvalidAccessKeyId; "
        "announce is failing: OSError: InvalidAccessKeyId"
    )


def test_a_problem_of_several_lanes_is_named_once() -> None:
    status = Status()
    status.assigned()
    for lane in range(3):
        status.failed("write", lane, OSError("gone"))
    status.ended("write", 1)
    assert status.not_ready == "write is failing: OSError: gone"


def test_what_is_away_is_named_before_the_steps_that_fail_because_of_it() -> None:
    status = Status()
    status.assigned()
    status.failed("write", 0, OSError("gone"))
    status.cannot_use("the database", "the database does not answer: gone.")
    assert status.not_ready == "the database does not answer: gone; write is failing: OSError: gone"


def test_a_worker_says_why_it_does_not_know_where_to_start_reading() -> None:
    status = Status()
    reason = "cannot look up where to start reading: OSError: closed"
    status.cannot_start_reading(OSError("closed"))
    assert status.not_ready == reason
    status.cannot_use("Kafka", "Kafka does not answer")
    assert status.not_ready == f"Kafka does not answer; {reason}"
    status.can_use("Kafka")
    status.revoked()
    assert status.not_ready == "waiting for partitions to be assigned"
    status.assigned()
    status.logs_reset([("t", 0)])
    status.cannot_start_reading(OSError("closed"))
    assert status.not_ready == f"{reason}; the log was reset, reading again: t-0"
    status.reading()
    assert status.not_ready is None
