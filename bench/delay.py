"""Simulates a distant network: a TCP proxy that delays everything."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager

from testbed.ports import free_port
from testbed.waiting import wait_until

__all__ = ["delayed"]

_CHUNK = 256 * 1024


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """Open a port that forwards to another one, with a delay in seconds in each direction."""
    here = free_port()
    process = multiprocessing.get_context("fork").Process(
        target=lambda: asyncio.run(_serve(here, port, seconds)), daemon=True
    )
    process.start()
    try:
        wait_until(lambda: _answers(here), 10, "the proxy")
        yield here
    finally:
        process.terminate()
        process.join()


def _answers(port: int) -> bool:
    async def connect() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    try:
        asyncio.run(connect())
    except OSError:
        return False
    return True


async def _serve(here: int, there: int, seconds: float) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        farther = await asyncio.open_connection("127.0.0.1", there)
        await asyncio.gather(
            _pass_on(reader, farther[1], seconds), _pass_on(farther[0], writer, seconds)
        )

    server = await asyncio.start_server(connect, "127.0.0.1", here)
    await server.serve_forever()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    """Forward each piece after a delay in seconds; meanwhile, more pieces may arrive."""
    clock = asyncio.get_running_loop().time
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def write() -> None:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - clock())
            if not piece:
                writer.close()
                return
            writer.write(piece)
            await writer.drain()

    async def read() -> None:
        piece = b"."
        while piece:
            try:
                piece = await reader.read(_CHUNK)
            except ConnectionError:
                piece = b""
            pieces.put_nowait((clock() + seconds, piece))

    try:
        await asyncio.gather(read(), write())
    except ConnectionError:
        writer.close()
