"""Events acknowledged explicitly by this service, never by Faust."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import faust
from faust.types import StreamT

__all__ = ["HeldEvent", "held_events"]


class HeldEvent(faust.Event):
    """An event that is acked only when `release` is called.

    Faust's pure Python streams ack an event that they skip after a rebalance: its offset could then
    be committed although no agent has received the event.
    """

    def ack(self) -> bool:
        """Do nothing; Faust calls this on its own."""
        return False

    def drop_content(self) -> None:
        """Forget the content: an event that is settled may wait long for those before it.

        Its offset is acked only after theirs (rule acked-in-offset-order), and its bytes no longer
        count as held (rule bounded-memory).
        """
        self.key = self.value = self.message.key = self.message.value = None
        self.headers, self.message.headers = {}, None

    def release(self) -> bool:
        """Ack the event: its offset may be committed."""
        return self.message.ack(self.app.consumer)


async def held_events(stream: StreamT[Any]) -> AsyncIterator[HeldEvent]:
    """Iterate over a stream's events without acking any (rule acked-in-offset-order)."""
    async for event in cast("faust.Stream[Any]", stream).noack().events():
        yield cast("HeldEvent", event)
