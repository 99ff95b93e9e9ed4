"""The log says when a worker becomes ready, and when it no longer is."""

from __future__ import annotations

from structlog.testing import capture_logs

from app.telemetry.status import Status


def test_only_changes_of_the_readiness_are_logged() -> None:
    status = Status()
    with capture_logs() as lines:
        status.log_readiness()
        status.assigned()
        for _ in range(3):
            status.log_readiness()
        status.failed("write", OSError("gone"))
        for _ in range(3):
            status.log_readiness()
        status.ended("write")
        status.log_readiness()

    assert [(line["event"], line.get("reason")) for line in lines] == [
        ("ready", None),
        ("not ready", "write is failing: OSError: gone"),
        ("ready", None),
    ]
