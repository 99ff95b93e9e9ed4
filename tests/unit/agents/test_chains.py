"""The agent that keeps the table of chains."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from agents import chains
from app.telemetry import metrics
from models.chains import ChainUpdate

UPDATE = ChainUpdate(chain="chain", run="run", datasets=1, events=1, batch_id="b", written_at=0.0)
BAD = [b"{not JSON", b"[]", b'{"chain": "chain"}', None]


class FakeStream:
    """Delivers values."""

    def __init__(self, *values: bytes | None) -> None:
        self.values = values

    def noack(self) -> FakeStream:
        return self

    async def events(self) -> AsyncIterator[Any]:
        for offset, value in enumerate(self.values):
            yield SimpleNamespace(value=value, message=SimpleNamespace(partition=0, offset=offset))


async def test_a_bad_chain_update_is_logged_and_the_next_one_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted: list[ChainUpdate] = []
    held: list[int] = []
    logged: list[int] = []
    monkeypatch.setattr(chains.chain_table, "note", noted.append)
    monkeypatch.setattr(chains.chain_table, "hold", lambda event: held.append(event.message.offset))
    monkeypatch.setattr(
        chains, "logger", SimpleNamespace(warning=lambda _, **facts: logged.append(facts["offset"]))
    )
    skipped = metrics.SKIPPED_CHAIN_UPDATES._value.get()
    stream = FakeStream(*BAD, orjson.dumps(UPDATE.asdict()))

    await cast("Any", chains.chains).fun(stream)

    assert noted == [UPDATE]
    assert logged == [*range(len(BAD))]
    assert metrics.SKIPPED_CHAIN_UPDATES._value.get() == skipped + len(BAD)
    assert held == [*range(len(BAD) + 1)]
