"""The agent ``flush``, the sink: writes, announces and then acks each closed window.

Windows are written one after another, in the order in which they closed.  While one is written,
the next one is prepared.
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
        running: asyncio.Task[None] | None = None
        async for _ in closed:
            if (window := app.intake.take()) is None:
                continue  # it was joined to an earlier one, or dropped
            following = WindowFlush(window, app.parts)
            if not await following.prepare():
                continue
            if running is not None:
                await running
            running = tasks.create_task(finish(following))


async def finish(window_flush: WindowFlush) -> None:
    """Run the remaining steps of a prepared window, and let ``collect`` continue."""
    await window_flush.finish()
    app.room.set()
