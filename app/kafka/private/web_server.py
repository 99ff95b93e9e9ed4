"""Faust's web server, with a front page of ours and with headers that restrict what a page may do.

Faust's own front page, ``{"status": "OK"}``, is one of its blueprints; without it, ``/`` is free.
Of its other blueprints, ``/table`` and ``/router`` stay: they show the tables, and who keeps them.
Those that ``faust --debug`` or a setting of Faust would add do not: statistics would be at ``/``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import MappingProxyType
from typing import cast

import faust
from aiohttp.web import Request, StreamResponse
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


class _PagesServer(driver.Web):
    production_blueprints = ()
    debug_blueprints = ()
    optional_blueprints = ()


def pages_server(app: faust.App) -> driver.Web:
    """Return the web server of a worker."""
    server = _PagesServer(app)
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
