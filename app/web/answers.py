"""Makes answers of what the pages show: JSON, and HTML that is rendered once for all browsers."""

from __future__ import annotations

from typing import Any

import orjson
from faust.web import Response, View

from app.web.rendering import render

__all__ = ["JsonView", "PageView"]


class JsonView(View):
    """A page that answers with JSON."""

    def document(self, document: object, status: int = 200) -> Response:
        """Answer with a document."""
        text = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS)
        return self.bytes(text, content_type="application/json", status=status)


class PageView(View):
    """A page that answers with HTML.

    All browsers are shown the same, so a document is rendered once.
    """

    def __post_init__(self) -> None:
        self._rendered: tuple[object, str] | None = None

    def page(self, template: str, document: object, **options: Any) -> Response:
        """Answer with a page that shows a document."""
        if self._rendered is None or self._rendered[0] is not document:
            self._rendered = document, render(template, shown=document, **options)
        return self.html(self._rendered[1])

    def missing(self, page: str, text: str, depth: int = 1) -> Response:
        """Answer that something is not there."""
        return self.html(render("missing", page=page, depth=depth, text=text), status=404)
