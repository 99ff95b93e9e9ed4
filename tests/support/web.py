"""Asks a worker's web server for anything, and names everything that it has."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message

from app import app
from testbed.worker import Worker

__all__ = ["Answer", "answer", "routes"]


@dataclass(frozen=True)
class Answer:
    """What the web server has answered."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def answer(worker: Worker, path: str, method: str = "GET") -> Answer:
    """Return the answer to a question."""
    request = urllib.request.Request(worker.url + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as found:
            return Answer(found.status, found.headers, found.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


def routes() -> dict[str, set[str]]:
    """Return the path of each page, document and folder of files, with the methods it knows."""
    app.discover()
    server = app.web
    server.init_server()
    found: dict[str, set[str]] = {}
    for route in server.web_app.router.routes():  # type: ignore[attr-defined]
        found.setdefault(re.sub(r":[^}]*}", "}", route.resource.canonical), set()).add(route.method)
    return found
