"""Faust's web server, with a front page of ours, and with limits on pages and on connections.

Headers restrict what a page may do.  Connections that nobody uses are closed: each takes one of the
process's file descriptors, and without any left, the worker can neither answer a probe nor write.

Faust's own front page, ``{"status": "OK"}``, is one of its blueprints; without it, ``/`` is free.
Of its other blueprints, ``/table`` and ``/router`` stay: they show the tables, and who keeps them.
Those that ``faust --debug`` or a setting of Faust would add do not: statistics would be at ``/``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from types import MappingProxyType
from typing import Any, cast

import faust
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import (
    Application,
    AppRunner,
    BaseRequest,
    HTTPNotFound,
    Request,
    RequestHandler,
    Response,
    Server,
    StreamResponse,
    middleware,
)
from faust.web.drivers import aiohttp as driver

from app.butler.descriptions import describe_with_type

__all__ = ["FILES", "HEADERS", "answer_missing", "call_at_stop", "pages_server"]

#: Headers of every answer.  Pages load nothing from other hosts, and have neither scripts nor
#: styles in their text; so text of an event that got into a page as markup could do nothing.
HEADERS = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
)

#: Where the files of the pages are, below the address of the pages.
FILES = "/static/"

#: Connections that may be open at once: 50 browsers with six each need 300 for a moment.
_MOST_CONNECTIONS = 300

#: Seconds after which a connection is closed that waits for a request.
_IDLE_SECONDS = 75.0

#: Seconds that requests get to end when the worker stops; those that still run are cancelled, for
#: which they get as long again.  A browser that does not read its answer would hold up the worker
#: for longer than a shutdown may take.
_STOP_SECONDS = 1.0


class _BoundedRunner(AppRunner):
    """Closes the oldest connection when there are too many, so that a new one is always taken."""

    @property
    def server(self) -> Any:
        """What makes the protocol of each new connection."""
        found = super().server
        return None if found is None else partial(_new_connection, found)


class _Connection(RequestHandler):
    """Answers a request that is not valid HTTP like any other, and without an error in the log."""

    __slots__ = ()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """Answer instead of a page."""
        if isinstance(exc, HttpProcessingError):
            self.logger.debug("malformed request: %s", describe_with_type(exc))
            answer: StreamResponse = Response(status=status, text="This is no valid request.\n")
            answer.force_close()
        else:
            answer = super().handle_error(request, status, exc, message)
        # The hook of the application is called only if a path was found.
        _set_headers(answer.headers, is_file=False)
        return answer


class _PagesServer(driver.Web):
    production_blueprints = ()
    debug_blueprints = ()
    optional_blueprints = ()


def pages_server(app: faust.App) -> driver.Web:
    """Return the web server of a worker."""
    server = _PagesServer(app)
    server._runner = _BoundedRunner(
        server.web_app,
        access_log=None,
        keepalive_timeout=_IDLE_SECONDS,
        shutdown_timeout=_STOP_SECONDS,
    )
    server.web_app.on_response_prepare.append(_add_headers)
    return server


def answer_missing(app: faust.App, answer: Callable[[Request], StreamResponse]) -> None:
    """Have a worker's web server answer in this way where it has no page."""

    @middleware
    async def ask(
        request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]
    ) -> StreamResponse:
        try:
            return await handler(request)
        except HTTPNotFound:
            return answer(request)

    _application(app).middlewares.append(ask)


def call_at_stop(app: faust.App, call: Callable[[], Awaitable[None]]) -> None:
    """Call something when the web server of a worker stops."""

    async def stop(_: object) -> None:
        await call()

    _application(app).on_cleanup.append(stop)


def _application(app: faust.App) -> Application:
    return cast("driver.Web", app.web).web_app


async def _add_headers(request: Request, answer: StreamResponse) -> None:
    _set_headers(answer.headers, is_file=request.path.startswith(FILES))


def _set_headers(headers: MutableMapping[str, str], *, is_file: bool) -> None:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    # What is shown is as of now; files change with the version only, and have an ETag.
    headers.setdefault("Cache-Control", "no-cache" if is_file else "no-store")


def _new_connection(server: Server) -> asyncio.BaseProtocol:
    connections = server.connections
    for oldest in connections[: max(0, len(connections) - _MOST_CONNECTIONS + 1)]:
        oldest.force_close()
    return _Connection(server, loop=server._loop, **server._kwargs)
