"""Keeps connections to the brokers open while they are used again and again.

Opening a client takes longer than asking it, and pages that are kept open ask every few seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Generic, TypeVar

__all__ = ["KeptOpen"]

T = TypeVar("T")

#: Seconds without a use after which the connections are closed, and seconds after which they are
#: opened anew, so that partitions that were added to a topic are found.
_IDLE = 30.0
_RENEWED = 60.0


class KeptOpen(Generic[T]):
    """What is opened at its first use, and closed when it was not used for a while.

    Parameters
    ----------
    open_ : `~collections.abc.Callable`
        Opens it; what is to be closed later is put on the stack that it is given.
    seconds : `float`
        How long a use may take, with the wait for other uses and for the brokers.
    """

    def __init__(self, open_: Callable[[AsyncExitStack], Awaitable[T]], seconds: float) -> None:
        self._open = open_
        self._seconds = seconds
        self._opened: tuple[T, float] | None = None
        self._stack = AsyncExitStack()
        self._in_use = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def use(self) -> AsyncIterator[T]:
        """Use it, one user at a time; after an error it is opened anew.

        Raises
        ------
        TimeoutError
            If it takes too long.
        app.kafka.errors.KafkaError
            If the brokers cannot be reached, or refuse the user.
        """
        async with asyncio.timeout(self._seconds), self._in_use:
            if self._idle is not None:
                self._idle.cancel()
            try:
                yield await self._get()
            except BaseException:
                self._close_soon()
                raise
            self._idle = asyncio.get_running_loop().call_later(_IDLE, self._close_soon)

    async def close(self) -> None:
        """Close the connections."""
        if self._idle is not None:
            self._idle.cancel()
        self._close_soon()
        await self._closed()

    async def _get(self) -> T:
        await self._closed()
        if self._opened is not None and time.monotonic() - self._opened[1] > _RENEWED:
            self._close_soon()
            await self._closed()
        if self._opened is None:
            self._opened = await self._open(self._stack), time.monotonic()
        return self._opened[0]

    async def _closed(self) -> None:
        """Wait until the former connections are closed."""
        if self._closing is not None:
            await asyncio.wait([self._closing])

    def _close_soon(self) -> None:
        """Close the connections in the background; nobody waits for brokers that are away."""
        stack, self._stack, self._opened = self._stack, AsyncExitStack(), None
        self._closing = asyncio.ensure_future(_close(stack))


async def _close(stack: AsyncExitStack) -> None:
    with suppress(Exception):
        await stack.aclose()
