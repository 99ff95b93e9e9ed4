"""What is not a page: the files that pages refer to, the icon, and the answer where nothing is."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from faust.web import Request, Response, View

from app import app
from app.kafka.private.web_server import FILES, answer_missing
from app.web.answers import missing_page
from app.web.rendering import STATIC

__all__ = ["FilePage", "IconPage"]

#: Where programs ask, which are answered with JSON.
_FOR_PROGRAMS = ("/api/", "/state/")

_NOTHING = "There is nothing at this address."


@app.page(f"{FILES}{{file}}", name="files")
class FilePage(View):
    """The files that the pages refer to."""

    async def get(self, request: Request, file: str, **_: Any) -> Response:
        """Answer with a file, or 404: whatever the name is, no other file is looked for."""
        found = _files().get(file)
        answer = (
            _nothing(cast("web.Request", request)) if found is None else web.FileResponse(found)
        )
        return cast("Response", answer)


@app.page("/favicon.ico", name="icon")
class IconPage(View):
    """The icon that a browser asks for beside a document that names none, such as JSON."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the icon."""
        return self.bytes(_icon(), content_type="image/svg+xml")


def _nothing(request: web.Request) -> web.StreamResponse:
    path = request.rel_url.raw_path
    if path.startswith(_FOR_PROGRAMS):
        return web.json_response({"error": _NOTHING}, status=404)
    html = missing_page("", _NOTHING, path.count("/") - 1)
    return web.Response(text=html, content_type="text/html", status=404)


answer_missing(app, _nothing)


@cache
def _files() -> dict[str, Path]:
    return {path.name: path for path in STATIC.iterdir()}


@cache
def _icon() -> bytes:
    return (STATIC / "icon.svg").read_bytes()
