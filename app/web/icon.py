"""The icon that a browser asks for beside a document that names none, such as JSON."""

from __future__ import annotations

from functools import cache
from typing import Any

from faust.web import Request, Response, View

from app import app
from app.web.rendering import STATIC

__all__ = ["IconPage"]


@app.page("/favicon.ico", name="icon")
class IconPage(View):
    """The icon of the pages."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the icon."""
        return self.bytes(_icon(), content_type="image/svg+xml")


@cache
def _icon() -> bytes:
    return (STATIC / "icon.svg").read_bytes()
