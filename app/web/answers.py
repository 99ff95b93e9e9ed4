"""Makes answers of what the pages show: JSON, and HTML that is rendered once for all browsers."""

from __future__ import annotations

from typing import Any

import orjson
from faust.web import Response, View

from app import app
from app.operations.pages.documents import FlowState
from app.operations.pages.own_state import own_pages
from app.web.formats import short_name
from app.web.rendering import render

__all__ = ["JsonView", "PageView", "missing_page"]


class JsonView(View):
    """A page that answers with JSON.

    All programs are told the same, so a document is turned into JSON once.
    """

    def __post_init__(self) -> None:
        self._encoded: tuple[object, bytes] | None = None

    def document(self, document: object, status: int = 200) -> Response:
        """Answer with a document."""
        if self._encoded is None or self._encoded[0] is not document:
            self._encoded = document, orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS)
        return self.bytes(self._encoded[1], content_type="application/json", status=status)


class PageView(View):
    """A page that answers with HTML.

    All browsers are shown the same, so a document is rendered once.
    """

    def __post_init__(self) -> None:
        self._rendered: tuple[object, dict[str, Any], str] | None = None

    def page(self, template: str, document: object, **options: Any) -> Response:
        """Answer with a page that shows a document."""
        last = self._rendered
        if last is None or last[0] is not document or last[1] != options:
            html = _render(template, shown=document, **options)
            self._rendered = last = document, options, html
        return self.html(last[2])

    def missing(
        self,
        page: str,
        text: str,
        depth: int = 1,
        status: int = 404,
        state: FlowState | None = None,
    ) -> Response:
        """Answer that something is not there, or (503) that it is not known now."""
        return self.html(missing_page(page, text, depth, status, state), status=status)


def missing_page(
    page: str, text: str, depth: int, status: int = 404, state: FlowState | None = None
) -> str:
    """Return a page that says that something is not there, or (503) that it is not known now."""
    return _render("missing", page=page, depth=depth, text=text, status=status, state=state)


def _render(template: str, **options: Any) -> str:
    return render(
        template,
        where=f"{app.settings.kafka.group} \N{MIDDLE DOT} {short_name(own_pages(app))}",
        is_downstream=app.settings.downstream.is_replica,
        logs_products=app.settings.kafka.product_topic is not None,
        **options,
    )
