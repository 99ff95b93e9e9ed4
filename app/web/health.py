"""Probes, metrics, and the worker's own state as JSON."""

from __future__ import annotations

from typing import Any

from faust.web import Request, Response, View
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app import app
from app.installation import own_version
from app.telemetry.readings import Readings

__all__ = ["LivePage", "MetricsPage", "ReadyPage", "StatePage"]

_readings = Readings(app.status, app.intake)


@app.page("/livez", name="livez")
class LivePage(View):
    """Shows that the event loop runs; the watchdog ends a worker whose consumer is stuck."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer 200."""
        return self.json({"alive": True})


@app.page("/readyz", name="readyz")
class ReadyPage(View):
    """Shows whether the worker can do its work now."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer 200, or 503 with the reason."""
        reason = app.status.not_ready
        return self.json({"ready": reason is None, "reason": reason}, status=503 if reason else 200)


@app.page("/metrics", name="metrics")
class MetricsPage(View):
    """Prometheus metrics of this worker."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the metrics in Prometheus' text format."""
        _readings.take(app.log_ends.ends, app.log_ends.partitions)
        return self.bytes(generate_latest(), content_type=CONTENT_TYPE_LATEST.split(";")[0])


@app.page("/state", name="state")
class StatePage(View):
    """The state of this worker."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the worker's state."""
        intake = app.intake
        window = intake.windows.open
        return self.json(
            {
                "version": own_version(),
                **app.status.as_json(),
                "epoch": intake.epoch,
                "open_window": window and {"events": len(window.arrivals), "bytes": window.bytes},
                "windows_in_flight": len(intake.in_flight),
                "bytes_held": intake.ledger.bytes_held,
                "max_bytes_held": intake.max_bytes_held,
                "events_in_windows": intake.events,
                "max_events_in_windows": intake.max_events,
                "bytes_ahead": intake.ahead.bytes,
                "max_bytes_ahead": intake.ahead.limit,
                "accepted_gaps": intake.ledger.accepted_gaps,
                "partitions": {
                    f"{topic}-{partition}": state
                    for (topic, partition), state in intake.ledger.state().items()
                },
            }
        )
