"""Keeps an answer for a short time, so that many page views cost one question."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

__all__ = ["CACHE_SECONDS", "Cached", "CachedByKey"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

#: For how many seconds an answer is kept; pages ask as often.
CACHE_SECONDS = 2.0


class Cached(Generic[T]):
    """The answer of a call; there is one call at a time.

    Parameters
    ----------
    call : `~collections.abc.Callable`
        Finds the answer.  An exception is an answer, too.
    seconds : `float`, optional
        For how long the answer is kept.
    """

    def __init__(self, call: Callable[[], Awaitable[T]], seconds: float = CACHE_SECONDS) -> None:
        self._call = call
        self._seconds = seconds
        self._answer: asyncio.Future[T] | None = None
        self._answered_at = 0.0

    async def get(self) -> T:
        """Return the answer, which was found at most so many seconds ago."""
        if self._answer is None or self._is_outdated(self._answer):
            self._answer = asyncio.ensure_future(self._find())
            self._answer.add_done_callback(_retrieve)
        # A browser that goes away ends its request, and not the call that others wait for.
        return await asyncio.shield(self._answer)

    def _is_outdated(self, answer: asyncio.Future[T]) -> bool:
        return answer.done() and time.monotonic() - self._answered_at >= self._seconds

    async def _find(self) -> T:
        try:
            return await self._call()
        finally:
            # Not in a callback: whoever asks before that is called would ask again.
            self._answered_at = time.monotonic()


def _retrieve(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()  # nobody may be left to be told


class CachedByKey(Generic[K, T]):
    """The answers of a call for each of the last keys that were asked for.

    Parameters
    ----------
    call : `~collections.abc.Callable`
        Finds the answer for a key.
    most : `int`
        How many answers are kept.
    seconds : `float`, optional
        For how long each is kept.
    """

    def __init__(
        self, call: Callable[[K], Awaitable[T]], most: int, seconds: float = CACHE_SECONDS
    ) -> None:
        self._call = call
        self._most = most
        self._seconds = seconds
        self._answers: OrderedDict[K, Cached[T]] = OrderedDict()

    async def get(self, key: K) -> T:
        """Return the answer for a key."""
        if key not in self._answers:
            self._answers[key] = Cached(partial(self._call, key), self._seconds)
        self._answers.move_to_end(key)
        answer = self._answers[key]
        while len(self._answers) > self._most:
            self._answers.popitem(last=False)
        return await answer.get()
