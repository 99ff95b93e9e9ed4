"""An S3 service that answers as a test wants."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

__all__ = ["Store"]


class Store(ThreadingHTTPServer):
    """An S3 service with configurable responses.

    Attributes
    ----------
    answer : `int`
        HTTP status for every object.
    special : `dict` [`str`, `int`]
        HTTP status for objects whose key contains a word; 0: it never responds.
    goes_on : `threading.Event`
        The service does not respond until it is set.
    denied_after : `int` or `None`
        Number of requests after which the service denies access to everything.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = 200
        self.special: dict[str, int] = {}
        self.denied_after: int | None = None
        self._requests = count(1)
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.ends = threading.Event()

    def status(self, path: str) -> int:
        self.goes_on.wait()
        if self.denied_after is not None and next(self._requests) > self.denied_after:
            return 403
        if path.strip("/").count("/") <= 1:  # the bucket or the datastore root
            return 200
        return next((s for word, s in self.special.items() if word in path), self.answer)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        assert isinstance(self.server, Store)
        if (status := self.server.status(self.path)) == 0:
            self.server.ends.wait()
            status = 503
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass
