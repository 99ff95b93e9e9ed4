"""Reads and writes the changelog of a table, outside the consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from faust.exceptions import ProducerSendError
from faust.types.tables import TableT

from app.butler.descriptions import describe_with_type
from app.kafka.connection import KafkaConnection
from app.kafka.readers import Message, open_reader
from app.settings import MIB
from app.telemetry.availability import in_daemon_thread

__all__ = ["Changelog", "read_until_done", "send_state"]

T = TypeVar("T")

logger = structlog.get_logger("butler_writer")

#: Seconds between two attempts to read the changelog.
RETRY_SECONDS = 5.0


@dataclass
class Changelog:
    """Reads the last value of each key; what was read before is not read again.

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

    def anew(self) -> Changelog:
        """Return one that reads everything, whatever this one is reading at the moment."""
        return Changelog(self.connection, self.topic)

    async def read(self) -> Mapping[bytes, bytes | None]:
        """Return the last value of each key that was written since the last call.

        Raises
        ------
        KafkaError
            If the changelog cannot be read.
        """
        latest: dict[bytes, bytes | None] = {}
        async for message in self._unread():
            latest[message.key or b""] = message.value
        return latest

    async def read_all(self) -> dict[bytes, bytes]:
        """Return the last value of each key that has one.

        Raises
        ------
        KafkaError
            If the changelog cannot be read.
        """
        self.forget()
        latest: dict[bytes, bytes] = {}
        async for message in self._unread():
            key = message.key or b""
            if message.value is None:
                latest.pop(key, None)
            else:
                latest[key] = message.value
        return latest

    async def _unread(self) -> AsyncIterator[Message]:
        async with open_reader(self.connection, self.topic, MIB) as reader:
            first, end = (await reader.first_offsets())[0], (await reader.end_offsets())[0]
            start = self._read_to if first <= self._read_to <= end else first
            reader.seek(0, start)
            async for message in reader.read_until({0: end}):
                yield message
        self._read_to = end

    async def read_beside(self) -> Mapping[bytes, bytes | None]:
        """Read in a thread: a long changelog would hold up the event loop."""
        latest: dict[bytes, bytes | None] = {}
        await in_daemon_thread(lambda: latest.update(asyncio.run(self.read())))
        return latest


async def read_until_done(
    read: Callable[[], Awaitable[T]], what: str, is_current: Callable[[], bool]
) -> T | None:
    """Return what a changelog has, or `None` once the next rebalance has begun.

    Parameters
    ----------
    read : `~collections.abc.Callable`
        Reads the changelog.
    what : `str`
        What it is of, for the log.
    is_current : `~collections.abc.Callable`
        Returns `False` once the next rebalance has begun.
    """
    while is_current():
        try:
            found = await read()
        except Exception as exc:  # noqa: BLE001 - rule optional-parts-stop-nothing
            logger.warning(f"the changelog of {what} cannot be read", error=describe_with_type(exc))
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return found if is_current() else None
    return None


async def send_state(table: TableT[str, Any], key: str, value: Any) -> None:
    """Send a value to the changelog of a table, and wait until the brokers have it.

    Not by the table: it can only be changed while a stream has an event, and Faust's buffer, which
    it sends through, ends the worker at the first message that a broker does not take.

    Parameters
    ----------
    table : `faust.Table`
        The table; its changelog has one partition.
    key : `str`
        The key.
    value : `~typing.Any`
        The value; `None` removes the key.

    Raises
    ------
    KafkaError
        If the brokers do not take it.
    """
    try:
        sent = await table.changelog_topic.send(
            partition=0, key=key, value=value, key_serializer="json", value_serializer="json"
        )
        await sent
    except ProducerSendError as exc:  # Faust's wrapper around the error
        raise exc.__cause__ or exc from None
