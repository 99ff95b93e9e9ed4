"""When the first pending event of a partition was sent, asked of Kafka.

Its worker usually says so.  One that was killed cannot, nor can one that hangs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from app.kafka.connection import KafkaConnection
from app.kafka.readers import open_reader
from app.settings import KafkaSettings

__all__ = ["FirstPending", "PendingEvents"]

#: How many messages are read at most when somebody asks, and how many seconds that may take.
_MOST = 16
_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class FirstPending:
    """The first pending event of a partition.

    Attributes
    ----------
    start, end : `int`
        The range of offsets in which it was looked for.
    sent_at : `float` or `None`
        When it was sent, in seconds since the Unix epoch; `None` if the range has only markers of
        transactions.
    """

    start: int
    end: int
    sent_at: float | None

    def is_of(self, start: int, end: int) -> bool:
        """Return whether it is the first one of a range, too."""
        return self.start == start and (self.sent_at is not None or self.end == end)


class PendingEvents:
    """Looks for the first pending events, and remembers them.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers.
    settings : `KafkaSettings`
        Has the input topic.
    """

    def __init__(self, connection: KafkaConnection, settings: KafkaSettings) -> None:
        self._connection = connection
        self._topic = settings.topic
        self._known: dict[int, FirstPending] = {}

    async def look(self, ranges: Mapping[int, tuple[int, int]]) -> dict[int, FirstPending]:
        """Return the first pending events of partitions, as far as they are found in time.

        Parameters
        ----------
        ranges : `~collections.abc.Mapping` [`int`, `tuple` [`int`, `int`]]
            The first pending offset of each partition, and the end of its log.
        """
        self._known = {
            number: found
            for number, found in self._known.items()
            if number in ranges and found.is_of(*ranges[number])
        }
        unknown = [number for number in ranges if number not in self._known]
        if unknown:
            with suppress(Exception):  # the page then shows that it is not known
                async with asyncio.timeout(_TIMEOUT):
                    await self._read({number: ranges[number] for number in unknown[:_MOST]})
        return dict(self._known)

    async def _read(self, ranges: Mapping[int, tuple[int, int]]) -> None:
        # Brokers return the first message whole, however little is fetched.
        async with open_reader(self._connection, self._topic, 0) as reader:
            for number, (start, end) in ranges.items():
                message = await reader.first_message(number, start, end)
                sent_at = None
                if message is not None:
                    sent_at = message.timestamp / 1000
                self._known[number] = FirstPending(start, end, sent_at)
