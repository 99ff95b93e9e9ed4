"""Events whose acks are ours alone to give."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import faust
from faust.types import StreamT

__all__ = ["HeldEvent", "held_events"]


class HeldEvent(faust.Event):
    """An event that is acked by whoever holds it, and by nothing else.

    Faust's pure Python streams ack an event that they skip after a rebalance; its offset could
    then be committed although nobody saw the event.
    """

    def ack(self) -> bool:
        """Do nothing: Faust's own acks do not count."""
        return False

    def release(self) -> bool:
        """Let the event's offset be committed."""
        return self.message.ack(self.app.consumer)


async def held_events(stream: StreamT[Any]) -> AsyncIterator[HeldEvent]:
    """Iterate over a stream's events without acking any (rule acked-in-offset-order)."""
    async for event in cast("faust.Stream[Any]", stream).noack().events():
        yield cast("HeldEvent", event)
