"""The service as the pages of this worker show it."""

from __future__ import annotations

from app import app
from app.kafka.private.web_server import call_at_stop
from app.operations.pages.view import ServiceView

__all__ = ["service"]

service = ServiceView(app)

call_at_stop(app, service.close)
