"""What is kept open for pages: one user at a time, closed when nobody uses it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from app.kafka import kept_open
from app.kafka.kept_open import KeptOpen


class Clients:
    """Counts how often something is opened, closed and used at the same time."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.opened = self.closed = self.users = self.most_users = 0
        self.is_closed = asyncio.Event()
        self.kept = KeptOpen(self.open, seconds)

    async def open(self, stack: AsyncExitStack) -> int:
        stack.callback(self.close)
        self.opened += 1
        return self.opened

    def close(self) -> None:
        self.closed += 1
        self.is_closed.set()

    async def use(self, seconds: float = 0.0) -> int:
        async with self.kept.use() as found:
            self.users += 1
            self.most_users = max(self.users, self.most_users)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.users -= 1
            return found


async def test_many_uses_open_it_once_and_come_one_after_another() -> None:
    clients = Clients()
    assert set(await asyncio.gather(*(clients.use(0.001) for _ in range(50)))) == {1}
    assert clients.most_users == 1
    assert (clients.opened, clients.closed) == (1, 0)
    await clients.kept.close()
    assert clients.closed == 1


async def test_it_is_opened_anew_after_an_error() -> None:
    clients = Clients()
    with pytest.raises(ZeroDivisionError):
        async with clients.kept.use():
            raise ZeroDivisionError
    assert await clients.use() == 2
    assert (clients.opened, clients.closed) == (2, 1)
    await clients.kept.close()


async def test_a_use_that_takes_too_long_ends_and_those_that_wait_for_it_too() -> None:
    clients = Clients(0.1)
    answers = await asyncio.gather(*(clients.use(60) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in answers] == [TimeoutError] * 3
    assert await clients.use() == clients.opened
    await clients.kept.close()
    assert clients.closed == clients.opened


async def test_it_is_closed_when_nobody_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_open, "_IDLE", 0.01)
    clients = Clients()
    await clients.use()
    await asyncio.wait_for(clients.is_closed.wait(), 10)
    assert await clients.use() == 2
    await clients.kept.close()


async def test_it_is_opened_anew_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clients = Clients()
    assert await clients.use() == 1
    monkeypatch.setattr(kept_open, "_RENEWED", 0.0)
    assert await clients.use() == 2
    assert clients.closed == 1
    await clients.kept.close()
