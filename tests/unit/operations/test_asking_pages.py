"""Asking the pages of other workers, and keeping what was found out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import TypeAdapter

from app.operations.pages.asking import NoAnswer, ask_pages
from app.operations.pages.cached import Cached, CachedByKey
from testbed.ports import free_port

NUMBERS = TypeAdapter(list[int])

#: What a server answers, and the status.
ANSWERS = {
    "/good": (b"[1, 2]", 200),
    "/bad": (b"<html>", 200),
    "/endless": (b"[" + b"1," * 5_000_000 + b"1]", 200),
    "/elsewhere": (b"", 302),
}


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async def answer(request: web.Request) -> web.Response:
        text, status = ANSWERS[request.path]
        return web.Response(body=text, status=status, headers={"Location": "/good"})

    application = web.Application()
    application.router.add_get("/slow", slow)
    for path in ANSWERS:
        application.router.add_get(path, answer)
    async with TestServer(application) as running:
        yield str(running.make_url("")).rstrip("/")


async def test_a_worker_that_answers_is_believed(server: str) -> None:
    assert await ask_pages([server, server], "/good", NUMBERS) == {server: [1, 2]}
    assert await ask_pages([], "/good", NUMBERS) == {}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/bad", "Its answer is not that of a worker of this release."),
        ("/endless", "Its answer is not that of a worker of this release."),
        ("/missing", "It answers with the status 404."),
        ("/elsewhere", "It answers with the status 302."),
        ("/slow", "It has not answered within 0.2 s."),
    ],
)
async def test_an_answer_that_is_none_has_a_reason(server: str, path: str, reason: str) -> None:
    seconds = 0.2 if path == "/slow" else 1.0
    (found,) = (await ask_pages([server], path, NUMBERS, seconds)).values()
    assert isinstance(found, NoAnswer)
    assert str(found) == reason


async def test_workers_that_cannot_be_reached_do_not_hide_the_others(server: str) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    unknown = "http://no-such-host.invalid:6066"
    found = await ask_pages([nobody, server, unknown, "no address"], "/good", NUMBERS)
    assert found[server] == [1, 2]
    assert str(found[nobody]).startswith("It cannot be reached: ")
    assert "BUTLER_WRITER_WEB_HOST" in str(found[unknown])
    assert isinstance(found["no address"], NoAnswer)


async def test_many_questions_at_once_cost_one_call() -> None:
    calls: list[float] = []

    async def call() -> int:
        calls.append(time.monotonic())
        await asyncio.sleep(0.01)
        return len(calls)

    cached = Cached(call, seconds=0.2)
    assert await asyncio.gather(*(cached.get() for _ in range(50))) == [1] * 50
    assert await cached.get() == 1
    await asyncio.sleep(0.25)
    assert await cached.get() == 2


async def test_a_browser_that_goes_away_does_not_end_the_call_for_others() -> None:
    begun = asyncio.Event()

    async def call() -> str:
        begun.set()
        await asyncio.sleep(0.05)
        return "answer"

    cached = Cached(call)
    first = asyncio.create_task(cached.get())
    await begun.wait()
    second = asyncio.create_task(cached.get())
    first.cancel()
    assert await second == "answer"


async def test_a_failure_is_not_kept_for_ever() -> None:
    fails = [True]

    async def call() -> str:
        if fails:
            raise OSError("away")
        return "answer"

    cached = Cached(call, seconds=0.0)
    with pytest.raises(OSError, match="away"):
        await cached.get()
    fails.clear()
    assert await cached.get() == "answer"


async def test_the_answers_for_many_keys_are_bounded_and_each_costs_one_call() -> None:
    calls: list[int] = []

    async def call(key: int) -> int:
        calls.append(key)
        await asyncio.sleep(0.01)
        return 2 * key

    cached = CachedByKey(call, most=3)
    assert await asyncio.gather(*(cached.get(7) for _ in range(50))) == [14] * 50
    assert calls == [7]
    for key in range(100):
        assert await cached.get(key) == 2 * key
    assert len(cached._answers) == 3
    calls.clear()
    await asyncio.gather(*(cached.get(key) for key in (97, 98, 99)))
    assert calls == []
    assert await cached.get(7) == 14
    assert calls == [7]
