"""Probes, metrics, and the worker's own state as JSON."""

from __future__ import annotations

import time
from typing import Any

from faust.web import Request, Response, View
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app import app
from app.operations.pages.activity import SHOWN_SECONDS
from app.operations.pages.own_state import own_state
from app.operations.pages.waiting import NOT_DOWNSTREAM, kept_waiting
from app.telemetry.readings import Readings
from app.web.answers import JsonView

__all__ = [
    "LivePage",
    "MetricsPage",
    "ReadyPage",
    "StateActivityPage",
    "StatePage",
    "StateWaitingPage",
    "StateWindowPage",
    "StateWindowsPage",
]

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
class StatePage(JsonView):
    """The state of this worker, which the pages of all workers show."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the worker's state."""
        return self.document(own_state(app))


@app.page("/state/activity", name="state-activity")
class StateActivityPage(JsonView):
    """What this worker has finished in the last half hour."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with its intervals of ten seconds, the oldest first."""
        return self.document(app.status.activity.since(time.time() - SHOWN_SECONDS))


@app.page("/state/waiting", name="state-waiting")
class StateWaitingPage(JsonView):
    """What waits in the partitions that this worker reads."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the counts, or 404 if the worker fills no downstream repository."""
        if not app.settings.downstream.is_replica:
            return self.document({"error": NOT_DOWNSTREAM}, status=404)
        return self.document(kept_waiting(app))


@app.page("/state/windows", name="state-windows")
class StateWindowsPage(JsonView):
    """The last flushes of this worker."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the flushes, the last one first."""
        return self.document(app.status.recent.newest_first())


@app.page("/state/windows/{batch_id}", name="state-window")
class StateWindowPage(JsonView):
    """One flush of this worker."""

    async def get(self, request: Request, batch_id: str, **_: Any) -> Response:
        """Answer with the flush and its events, or with null."""
        return self.document(app.status.recent.detail(batch_id))
