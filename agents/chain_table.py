"""The table ``chains``: read from its changelog beside the events, and written every few seconds.

The table is for people.  Neither a long changelog nor a bad record of it keeps events waiting, and
the changelog grows with the chains, not with the windows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
import structlog
from faust.types.tables import TableT

from app.butler.descriptions import describe_with_type
from app.kafka.connection import KafkaConnection
from app.kafka.held_events import HeldEvent
from app.kafka.readers import open_reader
from app.settings import MIB
from app.telemetry.availability import in_daemon_thread
from models.chains import ChainState, ChainUpdate

__all__ = ["ChainTable", "Changelog"]

logger = structlog.get_logger("butler_writer")

#: Seconds between two attempts to read the changelog.
RETRY_SECONDS = 5.0

#: Events that are held until their updates are in the table.  Further ones are released before: a
#: crash then loses their counts, but the consumer does not stop.
MOST_HELD = 10_000


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


@dataclass
class ChainTable:
    """Keeps the table of chains.

    Parameters
    ----------
    table : `faust.Table`
        The table.
    changelog : `Changelog`
        Its changelog.

    Attributes
    ----------
    is_restored : `bool`
        Whether the table has what the changelog had at the last rebalance; updates wait for it.
    """

    table: TableT[str, ChainState]
    changelog: Changelog
    is_restored: bool = False
    _pending: dict[str, ChainState] = field(default_factory=dict)
    _held: list[HeldEvent] = field(default_factory=list)
    _epoch: int = 0

    def revoke(self) -> None:
        """Forget the updates that are not in the table: they will be redelivered."""
        self._epoch += 1
        self.is_restored = False
        self._pending.clear()
        self._held.clear()

    async def restore(self, *, is_ours: bool) -> None:
        """Read the changelog after a rebalance, until that succeeds or the next one begins.

        Parameters
        ----------
        is_ours : `bool`
            Whether this worker keeps the table now.
        """
        epoch = self._epoch
        if not is_ours:
            self.changelog.forget()
            self.table.data.clear()
            return
        started = time.monotonic()
        while epoch == self._epoch:
            try:
                latest = await self._read_changelog()
            except Exception as exc:  # noqa: BLE001 - rule optional-parts-stop-nothing
                logger.warning(
                    "the changelog of the chains cannot be read", error=describe_with_type(exc)
                )
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if epoch == self._epoch:
                self._apply(latest)
                self.is_restored = True
                # Faust's pages ask its producer for the partition of a chain, and the producer
                # knows only topics that it has sent to: one chain is written again.
                for chain in list(self.table.data)[:1]:
                    self._pending.setdefault(chain, ChainState(chain=chain, runs=[]))
                seconds = round(time.monotonic() - started, 1)
                logger.info("chains restored", chains=len(self.table.data), seconds=seconds)
            return

    async def _read_changelog(self) -> Mapping[bytes, bytes | None]:
        """Read the changelog in a thread: a long one would hold up the event loop."""
        latest: dict[bytes, bytes | None] = {}
        await in_daemon_thread(lambda: latest.update(asyncio.run(self.changelog.read())))
        return latest

    def _apply(self, latest: Mapping[bytes, bytes | None]) -> None:
        for key, value in latest.items():
            try:
                chain = str(orjson.loads(key))
                if value is None:
                    self.table.data.pop(chain, None)
                else:
                    self.table.data[chain] = ChainState.from_data(orjson.loads(value))
            except Exception as exc:  # noqa: BLE001 - rule optional-parts-stop-nothing
                logger.warning(
                    "record of the chains' changelog skipped", error=describe_with_type(exc)
                )

    def note(self, update: ChainUpdate) -> None:
        """Note an update; `write` puts it into the table."""
        chain = str(update.chain)
        before = self._pending.get(chain) or ChainState(chain=chain, runs=[])
        self._pending[chain] = before.updated(update)

    def hold(self, event: HeldEvent) -> None:
        """Hold an event until its update is in the table."""
        self._held.append(event)
        if len(self._held) >= MOST_HELD:
            self._release(MOST_HELD)

    async def write(self) -> None:
        """Write the chains that have changed to the table, and release the events.

        What cannot be sent now is left to the next call.
        """
        if not self.is_restored:
            return
        epoch, held = self._epoch, len(self._held)
        for chain in list(self._pending):
            changes = self._pending.pop(chain)
            state = self._merged(chain, changes)
            try:
                await self._send(chain, state)
            except Exception as exc:  # noqa: BLE001 - rule optional-parts-stop-nothing
                logger.warning(
                    "the changelog of the chains cannot be written", error=describe_with_type(exc)
                )
                if epoch == self._epoch:
                    later = self._pending.get(chain)
                    self._pending[chain] = changes if later is None else changes.merged(later)
                return
            if epoch != self._epoch:
                return
            self.table.data[chain] = state
        self._release(held)

    def _merged(self, chain: str, changes: ChainState) -> ChainState:
        try:
            before = self.table.data.get(chain)
            return changes if before is None else before.merged(changes)
        except Exception as exc:  # noqa: BLE001 - rule optional-parts-stop-nothing
            logger.warning(
                "chain written anew, its state is bad", chain=chain, error=describe_with_type(exc)
            )
            return changes

    async def _send(self, chain: str, state: ChainState) -> None:
        """Send a state to the changelog, and wait until the brokers have it.

        Not by the table: it can only be changed while a stream has an event, and Faust's buffer,
        which it sends through, ends the worker at the first message that a broker does not take.
        """
        sent = await self.table.changelog_topic.send(
            partition=0, key=chain, value=state, key_serializer="json", value_serializer="json"
        )
        await sent

    def _release(self, number: int) -> None:
        """Release the events that were held first."""
        released, self._held = self._held[:number], self._held[number:]
        for event in released:
            event.release()
