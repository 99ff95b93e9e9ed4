"""Faults in the libraries of a worker, installed when its Python starts.

Python imports a module of this name by itself; a worker has this folder on its ``PYTHONPATH``.
"""

import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from faust.transport.consumer import Consumer

_TOPIC = os.environ["KAFKA_TOPIC"]


def _offsets(variable: str) -> set[int]:
    return {int(offset) for offset in os.environ.get(variable, "").split(",") if offset}


def lose_fetched_events(offsets: set[int]) -> None:
    """Lose events between fetch and Faust: their offsets are skipped, once each."""
    getmany = Consumer.getmany

    async def losing(self: Any, timeout: float) -> AsyncIterator[Any]:  # noqa: ASYNC109
        async for tp, message in getmany(self, timeout):
            if message.topic == _TOPIC and message.offset in offsets:
                offsets.remove(message.offset)
            else:
                yield tp, message

    Consumer.getmany = losing  # type: ignore[method-assign]


def lose_queued_events(offsets: set[int]) -> None:
    """Lose events in Faust's queues, as recovery does: Faust has received them, no agent does."""
    start = Consumer.on_init_dependencies

    def losing(self: Any) -> Any:
        deliver = self.callback

        async def callback(message: Any) -> None:
            if message.topic == _TOPIC and message.offset in offsets:
                offsets.remove(message.offset)
            else:
                await deliver(message)

        self.callback = callback
        return start(self)

    Consumer.on_init_dependencies = losing  # type: ignore[method-assign]


def lose_changes() -> None:
    """Lose every table change between fetch and Faust, whenever it is fetched."""
    getmany = Consumer.getmany

    async def losing(self: Any, timeout: float) -> AsyncIterator[Any]:  # noqa: ASYNC109
        async for tp, message in getmany(self, timeout):
            if not message.topic.endswith("-changelog"):
                yield tp, message

    Consumer.getmany = losing  # type: ignore[method-assign]


def end_when_decoding(ends: dict[bytes, Callable[[], object]]) -> None:
    """Let some events do harm whenever they are decoded: those that contain one of the texts."""
    loads = orjson.loads

    def harmful(value: Any) -> Any:
        for text, end in ends.items():
            if isinstance(value, bytes) and text in value:
                end()
        return loads(value)

    orjson.loads = harmful


if os.environ.get("HARMFUL_EVENTS"):
    end_when_decoding(
        {
            b"kills its worker": lambda: os.kill(os.getpid(), signal.SIGKILL),
            b"crashes its worker": lambda: os.kill(os.getpid(), signal.SIGSEGV),
            b"hangs": lambda: time.sleep(600),
            b"holds the interpreter": lambda: re.match("(a+)+$", "a" * 99 + "b"),
        }
    )
if os.environ.get("LOSE_CHANGES"):
    lose_changes()
if fetched := _offsets("LOSE_FETCHED"):
    lose_fetched_events(fetched)
if queued := _offsets("LOSE_QUEUED"):
    lose_queued_events(queued)
