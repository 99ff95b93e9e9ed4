"""The service as the pages of this worker show it, and the files that they refer to."""

from __future__ import annotations

from app import app
from app.kafka.private.web_server import call_at_stop, serve_files
from app.operations.pages.view import ServiceView
from app.web.rendering import STATIC

__all__ = ["service"]

service = ServiceView(app)

call_at_stop(app, service.close)
serve_files(app, STATIC)
