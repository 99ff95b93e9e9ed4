"""Serves pages as a worker does, with documents that a test chooses and changes."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from app.kafka.private.web_server import HEADERS
from app.web.rendering import STATIC, render

__all__ = ["PagesServer"]

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class PagesServer:
    """A server of pages; as a context manager, it runs until the end of the block.

    Attributes
    ----------
    shown : `dict` [`str`, `tuple`]
        The template of each path, and what it is rendered with.
    answer : `tuple` [`int`, `str`] or `None`
        Status and text that are answered instead of a page, as a proxy does.
    asked : `list` [`str`]
        The paths of pages that were asked for.
    headers : `~collections.abc.Mapping` [`str`, `str`]
        Those of the last of these requests.
    activity : `dict`
        What the chart of the overview shows.
    """

    def __init__(self) -> None:
        self.shown: dict[str, tuple[str, dict[str, Any]]] = {}
        self.answer: tuple[int, str] | None = None
        self.asked: list[str] = []
        self.headers: Mapping[str, str] = {}
        self.activity: dict[str, Any] = {}
        self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start to answer, at the same address as before."""
        own = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                own.respond(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - of the base
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def respond(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path = urlsplit(request.path).path
        status, kind, text = self._found(path, request)
        request.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Cache-Control": "no-store"}.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(text)))
        with suppress(ConnectionError):  # the browser has gone to another page
            request.end_headers()
            request.wfile.write(text)

    def _found(self, path: str, request: BaseHTTPRequestHandler) -> tuple[int, str, bytes]:
        if path.startswith("/static/"):
            file = STATIC / PurePosixPath(path).name
            return 200, _TYPES[file.suffix], file.read_bytes()
        if path == "/api/v1/activity":
            return 200, "application/json", json.dumps(self.activity).encode()
        self.asked.append(path)
        self.headers = dict(request.headers)
        if self.answer is not None:
            return self.answer[0], "text/html", self.answer[1].encode()
        if path not in self.shown:
            return 404, "text/html", b"nothing"
        template, content = self.shown[path]
        html = render(template, **content).encode()
        return content.get("status", 200), "text/html; charset=utf-8", html
