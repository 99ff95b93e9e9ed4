"""What the pages show, as JSON; read-only, like they are."""

from __future__ import annotations

from typing import Any

from faust.web import Request, Response

from app import app
from app.operations.pages.about_document import about_document
from app.operations.pages.own_state import own_pages
from app.operations.pages.settings_document import settings_document
from app.operations.pages.waiting import NOT_DOWNSTREAM
from app.web.answers import JsonView
from app.web.service import service

__all__ = [
    "AboutDocumentPage",
    "ActivityDocumentPage",
    "OverviewDocumentPage",
    "SettingsDocumentPage",
    "WaitingDocumentPage",
    "WindowDocumentPage",
    "WindowsDocumentPage",
    "WorkersDocumentPage",
]


@app.page("/api/v1/overview", name="api-overview")
class OverviewDocumentPage(JsonView):
    """The whole service."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the overview."""
        return self.document(await service.overview())


@app.page("/api/v1/activity", name="api-activity")
class ActivityDocumentPage(JsonView):
    """What was finished in the last half hour."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with figures for each interval of ten seconds."""
        return self.document(await service.activity())


@app.page("/api/v1/workers", name="api-workers")
class WorkersDocumentPage(JsonView):
    """All workers."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with what each worker says of itself."""
        return self.document(await service.workers())


@app.page("/api/v1/waiting", name="api-waiting")
class WaitingDocumentPage(JsonView):
    """What waits to be released to a downstream repository."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the counts, or 404 if the worker fills no downstream repository."""
        if not app.settings.downstream.is_replica:
            return self.document({"error": NOT_DOWNSTREAM}, status=404)
        return self.document(await service.waiting())


@app.page("/api/v1/windows", name="api-windows")
class WindowsDocumentPage(JsonView):
    """The last flushes of all workers."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the flushes."""
        return self.document(await service.windows())


@app.page("/api/v1/windows/{batch_id}", name="api-window")
class WindowDocumentPage(JsonView):
    """One flush."""

    async def get(self, request: Request, batch_id: str, **_: Any) -> Response:
        """Answer with the flush and its events, or 404."""
        found = await service.window(batch_id)
        if found is None:
            return self.document({"error": "no worker has this flush (any more)"}, status=404)
        return self.document(found)


@app.page("/api/v1/settings", name="api-settings")
class SettingsDocumentPage(JsonView):
    """The settings of this worker."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the settings, without secrets."""
        return self.document(settings_document(own_pages(app), app.settings))


@app.page("/api/v1/about", name="api-about")
class AboutDocumentPage(JsonView):
    """What runs here."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with versions and links."""
        return self.document(about_document(own_pages(app)))
