"""The agent ``flush``, the sink: writes, announces and then acks each closed window.

Several windows are written at once, each in a lane of its own.  They start in the order in which
they closed, and may end in another one: the ledger acks in offset order.
"""

from __future__ import annotations

import asyncio
from typing import Any

from faust.types import StreamT

from agents.waiting import waiting_table
from agents.window_flush import WindowFlush
from app import app
from app.intake.received import Received
from app.intake.windows import Window
from app.parts import Lane


@app.agent(app.window_closed)
async def flush(closed: StreamT[Any]) -> None:
    """Write each closed window into the Butler, announce it, and ack its events."""
    free: asyncio.Queue[Lane] = asyncio.Queue()
    for lane in app.parts.lanes:
        free.put_nowait(lane)
    # An exception in one of the tasks leaves the agent (rule no-exception-leaves-an-agent).
    async with asyncio.TaskGroup() as tasks:
        async for _ in closed:
            lane = await free.get()
            if (window := app.intake.take()) is None:
                free.put_nowait(lane)  # it was joined to an earlier one, or dropped
            else:
                tasks.create_task(flush_in_lane(window, lane, free))


async def flush_in_lane(window: Window[Received], lane: Lane, free: asyncio.Queue[Lane]) -> None:
    """Flush one window, and let ``collect`` continue."""
    await WindowFlush(window, app.parts, lane, waiting_table).run()
    free.put_nowait(lane)
    app.room.set()
