"""The waits between two attempts of a step."""

from __future__ import annotations

import asyncio

__all__ = ["Pauses"]


class Pauses:
    """Waits between two attempts, which end early if what was away answers again."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[None]] = set()

    async def sleep(self, seconds: float) -> None:
        """Wait for some time, or until `end` is called."""
        pause: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running.add(pause)
        try:
            await asyncio.wait([pause], timeout=seconds)
        finally:
            self._running.discard(pause)

    def end(self) -> None:
        """End all waits."""
        for pause in self._running:
            if not pause.done():
                pause.set_result(None)
