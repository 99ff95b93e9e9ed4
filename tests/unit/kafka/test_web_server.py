"""Whatever is asked of the web server, its answer has the same headers, and the log stays short."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from app.kafka.private.web_server import HEADERS, _BoundedRunner

LOGGER = "aiohttp.server"


async def _fail(_: web.Request) -> web.Response:
    raise RuntimeError("a defect of a page")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    application = web.Application()
    application.router.add_get("/defect", _fail)
    runner = _BoundedRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def ask(port: int, request: bytes) -> str:
    """Return everything that is answered until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return (await reader.read()).decode()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_", "status", "levels"),
    [
        (b"hello\r\n\r\n", 400, ["DEBUG"]),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", 400, ["DEBUG"]),
        (b"GET /defect HTTP/1.1\r\nHost: x\r\n\r\n", 500, ["ERROR"]),
    ],
    ids=["no HTTP", "header", "defect"],
)
async def test_an_error_is_answered_with_the_headers_of_every_answer(
    port: int,
    caplog: pytest.LogCaptureFixture,
    request_: bytes,
    status: int,
    levels: list[str],
) -> None:
    with caplog.at_level(logging.DEBUG, LOGGER):
        answer = await ask(port, request_)
    head = answer.partition("\r\n\r\n")[0].splitlines()
    assert head[0].split()[1] == str(status)
    for name, value in {**HEADERS, "Cache-Control": "no-store"}.items():
        assert f"{name}: {value}" in head
    logged = [each for each in caplog.records if each.name == LOGGER]
    assert [each.levelname for each in logged] == levels
    for record in logged:
        assert (record.exc_info is None) is (record.levelname == "DEBUG")
        assert "\n" not in record.getMessage()
