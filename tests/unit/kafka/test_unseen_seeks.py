"""Partitions may be revoked while Faust seeks, and nobody may look at how that ended."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka.errors import IllegalStateError
from faust.types import TP

from app.kafka.private.consumer_thread import TolerantConsumer


class _Revoked(TolerantConsumer):
    def __init__(self) -> None:
        self._read_offset = {}

    async def seek_to_committed(self) -> Mapping[TP, int]:
        raise IllegalStateError("no current assignment")


async def test_a_seek_of_revoked_partitions_that_nobody_waits_for_is_no_error_in_the_log() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    task = asyncio.create_task(_Revoked().perform_seek())
    await asyncio.wait([task])
    del task
    gc.collect()
    assert reported == []


async def test_whoever_waits_for_a_seek_of_revoked_partitions_gets_the_error() -> None:
    with pytest.raises(IllegalStateError):
        await _Revoked().perform_seek()
