"""Reads the changelog of the table ``chains``, outside the consumer group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.kafka.connection import KafkaConnection
from app.kafka.readers import open_reader
from app.settings import MIB

__all__ = ["Changelog"]


@dataclass
class Changelog:
    """Reads the last state of each chain; what was read before is not read again.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to ask.
    topic : `str`
        The changelog; it has one partition.
    """

    connection: KafkaConnection
    topic: str
    _read_to: int = 0

    def forget(self) -> None:
        """Read everything the next time."""
        self._read_to = 0

    async def read(self) -> Mapping[bytes, bytes | None]:
        """Return the last value of each key that was written since the last call.

        Raises
        ------
        KafkaError
            If the changelog cannot be read.
        """
        latest: dict[bytes, bytes | None] = {}
        async with open_reader(self.connection, self.topic, MIB) as reader:
            first, end = (await reader.first_offsets())[0], (await reader.end_offsets())[0]
            start = self._read_to if first <= self._read_to <= end else first
            reader.seek(0, start)
            async for message in reader.read_until({0: end}):
                latest[message.key or b""] = message.value
        self._read_to = end
        return latest
