"""Faust's pages of tables: who keeps a key, and what is said if that worker cannot be asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from faust.exceptions import SameNode
from faust.web.exceptions import NotFound, ServiceUnavailable, WebError
from yarl import URL

from app.kafka.private import router
from app.kafka.private.router import PagesRouter
from testbed.ports import free_port

OWN = URL("http://own:6066/")
PATH = "/table/chains/a%2Fb/"


class Assignor:
    """Knows who keeps the changelog of the one table."""

    keeper: str | None = None

    def table_metadata(self, topic: str) -> dict[str, dict[str, list[int]]]:
        assert topic == "changelog"
        others = {"http://spare:6066": {topic: list[int]()}, "http://other:6066": {}}
        return others | ({self.keeper: {topic: [0]}} if self.keeper else {})


class Asked:
    """A router, and the worker that keeps the table."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        table = SimpleNamespace(changelog_topic=SimpleNamespace(get_topic_name=lambda: "changelog"))
        self.assignor = Assignor()
        self.seen: list[web.Request] = []
        app = SimpleNamespace(
            assignor=self.assignor,
            tables={"chains": table},
            conf=SimpleNamespace(canonical_url=OWN),
            http_client=session,
        )
        self.router = PagesRouter(cast("Any", app))
        app.router = self.router

    async def serve(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        if "slow" in request.path:
            await asyncio.sleep(60)
        return web.json_response({"chain": "a/b"}, status=203)

    async def ask(self, path: str = PATH, table: str = "chains", **headers: str) -> Any:
        request = SimpleNamespace(headers=headers, rel_url=URL(path, encoded=True))
        server = SimpleNamespace(text=lambda text, **more: (text, more))
        return await self.router.route_req(table, "a/b", cast("Any", server), cast("Any", request))

    async def refusal(self, path: str = PATH, table: str = "chains", **headers: str) -> WebError:
        with pytest.raises(WebError) as caught:
            await self.ask(path, table, **headers)
        return caught.value


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    async with aiohttp.ClientSession() as session:
        found = Asked(session)
        application = web.Application()
        application.router.add_get("/{path:.*}", found.serve)
        async with TestServer(application) as server:
            found.assignor.keeper = str(server.make_url("")).rstrip("/")
            yield found


async def test_the_worker_that_keeps_the_table_is_asked_for_the_same_page(asked: Asked) -> None:
    text, more = await asked.ask(f"{PATH}?x=1", Cookie="secret", Host="evil")
    assert text == '{"chain": "a/b"}'
    assert more == {"content_type": "application/json", "status": 203}
    (seen,) = asked.seen
    assert seen.rel_url.raw_path_qs == f"{PATH}?x=1"
    assert "Cookie" not in seen.headers
    assert seen.host != "evil"


async def test_the_own_table_is_not_asked_for(asked: Asked) -> None:
    asked.assignor.keeper = str(OWN).rstrip("/")
    with pytest.raises(SameNode):
        await asked.ask()


async def test_workers_that_disagree_do_not_ask_one_another_for_ever(asked: Asked) -> None:
    await asked.ask()
    refusal = await asked.refusal(**asked.seen[0].headers)
    assert refusal.code == ServiceUnavailable.code
    assert len(asked.seen) == 1


async def test_what_is_wrong_is_said(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await asked.refusal(table="x")).code == NotFound.code
    monkeypatch.setattr(router, "_ANSWER_SECONDS", 0.05)
    slow = await asked.refusal("/table/slow/")
    keeper = asked.assignor.keeper
    assert (slow.code, slow.detail) == (
        503,
        f"{keeper} keeps the table and has not answered within 0.05 s",
    )
    monkeypatch.setattr(router, "_ANSWER_SECONDS", 10.0)
    for gone in (f"http://127.0.0.1:{free_port()}", "http://no-such-host.invalid:6066"):
        asked.assignor.keeper = gone
        refusal = await asked.refusal()
        assert refusal.code == 503
        assert refusal.detail.startswith(f"{gone} keeps the table and cannot be reached: ")
        assert "BUTLER_WRITER_WEB_HOST" in refusal.detail
    asked.assignor.keeper = None
    assert (await asked.refusal()).detail == "no worker is known that keeps the table chains"
