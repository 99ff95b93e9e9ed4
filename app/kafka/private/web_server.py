"""Faust's web server, with a front page of ours, and with limits on pages and on connections.

Headers restrict what a page may do.  Connections that nobody uses are closed: each takes one of the
process's file descriptors, and without any left, the worker can neither answer a probe nor write.

Faust's own front page, ``{"status": "OK"}``, is one of its blueprints; without it, ``/`` is free.
Of its other blueprints, ``/table`` and ``/router`` stay: they show the tables, and who keeps them.
Those that ``faust --debug`` or a setting of Faust would add do not: statistics would be at ``/``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import faust
from aiohttp.web import AppRunner, Request, Server, StreamResponse
from faust.web.drivers import aiohttp as driver

__all__ = ["HEADERS", "call_at_stop", "pages_server", "serve_files"]

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
_STATIC = "/static"


#: Connections that may be open at once: 50 browsers with six each need 300 for a moment.
_MOST_CONNECTIONS = 300

#: Seconds after which a connection is closed that waits for a request.
_IDLE_SECONDS = 75.0


class _BoundedRunner(AppRunner):
    """Closes the oldest connection when there are too many, so that a new one is always taken."""

    @property
    def server(self) -> Any:
        """What makes the protocol of each new connection."""
        found = super().server
        return None if found is None else partial(_new_connection, found)


class _PagesServer(driver.Web):
    production_blueprints = ()
    debug_blueprints = ()
    optional_blueprints = ()


def pages_server(app: faust.App) -> driver.Web:
    """Return the web server of a worker."""
    server = _PagesServer(app)
    server._runner = _BoundedRunner(
        server.web_app, access_log=None, keepalive_timeout=_IDLE_SECONDS
    )
    server.web_app.on_response_prepare.append(_add_headers)
    return server


def serve_files(app: faust.App, folder: Path) -> None:
    """Serve the files of a folder below ``/static``."""
    app.web.add_static(_STATIC, folder)


def call_at_stop(app: faust.App, call: Callable[[], Awaitable[None]]) -> None:
    """Call something when the web server of a worker stops."""

    async def stop(_: object) -> None:
        await call()

    cast("driver.Web", app.web).web_app.on_cleanup.append(stop)


async def _add_headers(request: Request, answer: StreamResponse) -> None:
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    # What is shown is as of now; files change with the version only, and have an ETag.
    is_file = request.path.startswith(f"{_STATIC}/")
    answer.headers.setdefault("Cache-Control", "no-cache" if is_file else "no-store")


def _new_connection(server: Server) -> asyncio.BaseProtocol:
    connections = server.connections
    for oldest in connections[: max(0, len(connections) - _MOST_CONNECTIONS + 1)]:
        oldest.force_close()
    return server()
