"""Flush, the sink: each window becomes one Butler write, is announced, and only then is acked.

Windows are written one after another, in the order of their closing, each while the next one is
prepared.
"""

from __future__ import annotations

import asyncio
from typing import Any

from faust.types import StreamT

from agents.window_flush import WindowFlush
from app import app


@app.agent(app.window_closed)
async def flush(closed: StreamT[Any]) -> None:
    """Write each closed window into the Butler, announce it, and ack its events."""
    # An exception in one of the tasks leaves the agent (rule no-exception-leaves-an-agent).
    async with asyncio.TaskGroup() as tasks:
        under_way: asyncio.Task[None] | None = None
        async for _ in closed:
            if (window := app.intake.take()) is None:
                continue  # it was joined to one before it
            next_one = WindowFlush(window, app.parts)
            if not await next_one.prepare():
                continue
            if under_way is not None:
                await under_way
            under_way = tasks.create_task(finish(next_one))


async def finish(window_flush: WindowFlush) -> None:
    """Take a prepared window through its other steps, and let the collector go on."""
    await window_flush.finish()
    app.room.set()
