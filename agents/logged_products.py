"""What one window adds to the product log.

Its datasets are serialized while the database writes them, so that little is left to do between the
commit and the acknowledgement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from app.butler.events.parsed import ParsedEvent
from app.butler.products.contents import SerializedEvents
from app.parts import Lane, Parts

__all__ = ["LoggedProducts"]


@dataclass
class LoggedProducts:
    """Sends what a window has written to the product log, if that is on.

    Attributes
    ----------
    parts : `Parts`
        The parts that all flushes are made with.
    lane : `Lane`
        The lane in which the window is written.
    """

    parts: Parts
    lane: Lane
    _serialized: asyncio.Future[SerializedEvents] | None = None
    _committed_at: datetime | None = None
    _messages: list[tuple[str, bytes]] | None = None

    def begin(self, prepared: Iterable[object]) -> None:
        """Start to serialize the events that are about to be written, in another thread.

        Parameters
        ----------
        prepared : `~collections.abc.Iterable`
            The prepared events; those that have failed are left out.
        """
        if self.parts.product_log.is_on:
            events = [event for event in prepared if isinstance(event, ParsedEvent)]
            self._serialized = asyncio.ensure_future(self._serialize(events))

    def committed(self) -> None:
        """Note the time at which they were committed."""
        self._committed_at = datetime.now(UTC)

    async def send(self, batch_id: UUID, written: Sequence[ParsedEvent]) -> None:
        """Send the datasets of the events that are written; without `begin`, do nothing.

        Parameters
        ----------
        batch_id : `uuid.UUID`
            The window's batch.
        written : `~collections.abc.Sequence` [`ParsedEvent`]
            The events.

        Raises
        ------
        KafkaError, RetryableError
            If the log or the repository does not answer; the call may be repeated.
        """
        serializing, at = self._serialized, self._committed_at
        if serializing is None or at is None or not written:
            return
        log = self.parts.product_log
        are_sent = False
        while not are_sent:
            if self._messages is None:
                serialized = await serializing
                if serialized.events != written:  # some could not be written
                    serialized = await self._serialize(written)
                self._messages = await self.lane.run(
                    partial(self._messages_of, serialized, batch_id, at)
                )
            if not (are_sent := await log.send(self.parts.sender, self._messages)):
                self._messages = None

    async def _serialize(self, events: Sequence[ParsedEvent]) -> SerializedEvents:
        return await asyncio.to_thread(self.lane.writer.serialize_products, events)

    def _messages_of(
        self, serialized: SerializedEvents, batch_id: UUID, at: datetime
    ) -> list[tuple[str, bytes]]:
        products = self.lane.writer.products(serialized)
        return self.parts.product_log.messages(products, batch_id, at)
