"""The pages: the same from every worker, read-only, and of use without JavaScript."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from faust.web import Request, Response

from app import app
from app.operations.pages.about_document import about_document
from app.operations.pages.own_state import own_pages
from app.operations.pages.settings_document import settings_document
from app.operations.pages.waiting import NOT_DOWNSTREAM
from app.web.answers import PageView
from app.web.service import service

__all__ = [
    "AboutPage",
    "OverviewPage",
    "SettingsPage",
    "WaitingPage",
    "WindowPage",
    "WindowsPage",
    "WorkersPage",
]


@app.page("/", name="overview")
class OverviewPage(PageView):
    """Whether events are written, and how fast."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the page."""
        shown = await service.overview()
        return self.page("overview", shown, page="", state=shown.state)


@app.page("/windows", name="windows")
class WindowsPage(PageView):
    """The last flushes of all workers."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the page."""
        state = (await service.overview()).state
        return self.page("windows", await service.windows(), page="windows", state=state)


@app.page("/windows/{batch_id}", name="window")
class WindowPage(PageView):
    """One flush, and what became of its events."""

    async def get(self, request: Request, batch_id: str, **_: Any) -> Response:
        """Answer with the page, or 404."""
        found = await service.window(batch_id)
        if found is None:
            text = "No worker has this flush, or no worker has it any more."
            return self.missing("windows", text)
        return self.page("window", found, page="windows", depth=1)


@app.page("/waiting", name="waiting")
class WaitingPage(PageView):
    """What waits to be released to a downstream repository."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the page, or 404 if the worker fills no downstream repository."""
        if not app.settings.downstream.is_replica:
            return self.missing("", NOT_DOWNSTREAM, depth=0)
        state = (await service.overview()).state
        return self.page("waiting", await service.waiting(), page="waiting", state=state)


@app.page("/workers", name="workers")
class WorkersPage(PageView):
    """All workers of the group."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the page."""
        state = (await service.overview()).state
        return self.page("workers", await service.workers(), page="workers", state=state)


@app.page("/settings", name="settings")
class SettingsPage(PageView):
    """The settings of this worker."""

    @cached_property
    def _document(self) -> Any:
        return settings_document(own_pages(app), app.settings)

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the page."""
        return self.page("settings", self._document, page="settings")


@app.page("/about", name="about")
class AboutPage(PageView):
    """What runs here."""

    @cached_property
    def _document(self) -> Any:
        return about_document(own_pages(app))

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the page."""
        return self.page("about", self._document, page="about")
