"""Faust's pages of tables, which pass a question on to the worker that keeps the key.

Faust's own router answers with the status 500 if that worker cannot be reached, waits for it for
five minutes, and lets two workers that each take the other one for the owner ask one another for
ever.  It also asks the producer for the partition of a key, and the producer knows only topics that
it has sent to.
"""

from __future__ import annotations

import asyncio

import aiohttp
from faust.app.router import Router
from faust.exceptions import SameNode
from faust.types import CollectionT
from faust.types.core import K
from faust.types.web import Request, Response, Web
from faust.web.exceptions import NotFound, ServiceUnavailable
from yarl import URL

from app.butler.descriptions import describe

__all__ = ["PagesRouter"]

#: Seconds that the other worker gets to answer.
_ANSWER_SECONDS = 1.0

#: A question that was passed on has this header.
_PASSED_ON = "X-Passed-On"


class PagesRouter(Router):
    """Says which worker keeps a key, and what is wrong if that one cannot be asked."""

    def key_store(self, table_name: str, key: K) -> URL:
        """Return the address of the worker that keeps a key: our tables have one partition."""
        for worker, topics in self.table_metadata(table_name).items():
            if any(topics.values()):
                return URL(worker)
        raise ServiceUnavailable(f"no worker is known that keeps the table {table_name}")

    def _get_table(self, name: str) -> CollectionT:
        if name not in self.app.tables:
            raise NotFound("unknown table", name=name)
        return super()._get_table(name)

    async def _route_req(self, dest_url: URL, web: Web, request: Request) -> Response:
        """Ask another worker."""
        worker = str(dest_url).rstrip("/")
        if worker == str(self.app.conf.canonical_url).rstrip("/"):
            raise SameNode
        if _PASSED_ON in request.headers:
            raise ServiceUnavailable(f"the table is being moved to {worker}")
        try:
            async with (
                asyncio.timeout(_ANSWER_SECONDS),
                self.app.http_client.get(
                    dest_url.join(request.rel_url),
                    headers={_PASSED_ON: "1"},
                    allow_redirects=False,
                ) as answer,
            ):
                text = await answer.text()
        except TimeoutError as exc:
            raise ServiceUnavailable(
                f"{worker} keeps the table and has not answered within {_ANSWER_SECONDS:g} s"
            ) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise ServiceUnavailable(
                f"{worker} keeps the table and cannot be reached: {describe(exc)}; "
                "BUTLER_WRITER_WEB_HOST sets a name or an address that other workers can reach"
            ) from exc
        return web.text(text, content_type=answer.content_type, status=answer.status)
