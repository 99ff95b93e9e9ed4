"""The table ``chains``: read from its changelog beside the events, and written every few seconds.

The table is for people.  Neither a long changelog nor a bad record of it keeps events waiting, and
the changelog grows with the chains, not with the windows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
import structlog
from faust.types.tables import TableT

from app.butler.descriptions import describe_with_type
from app.kafka.changelog import Changelog, read_until_done, send_state
from app.kafka.errors import MessageSizeTooLargeError
from app.kafka.held_events import HeldEvent
from app.telemetry import metrics
from models.chains import ChainState, ChainUpdate, read_chain_state, read_chain_update

__all__ = ["ChainTable"]

logger = structlog.get_logger("butler_writer")

#: Events that are held until their updates are in the table.  Further ones are released before: a
#: crash then loses their counts, but the consumer does not stop.
MOST_HELD = 10_000

#: The most chains of the table, and the most runs of all of them.  A night has a chain or a few,
#: and what whoever may write to the topics makes up must not fill the memory.
MOST_CHAINS = 10_000
MOST_RUNS = 100_000

#: How many characters of a chain's name a log line has.
_SHOWN = 200


@dataclass(frozen=True)
class _Change:
    """What is to be done to a chain: add to its state, or replace it."""

    state: ChainState
    replaces: bool = False

    def then(self, later: _Change) -> _Change:
        """Return both changes as one."""
        if later.replaces:
            return later
        return _Change(self.state.merged(later.state), self.replaces)


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
    _pending: dict[str, _Change] = field(default_factory=dict)
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
        latest = await read_until_done(
            self.changelog.read_beside, "the chains", lambda: epoch == self._epoch
        )
        if latest is None:
            return
        self._apply(latest)
        self.is_restored = True
        # Faust's pages ask its producer for the partition of a chain, and the producer knows only
        # topics that it has sent to: one chain is written again.
        for chain in list(self.table.data)[:1]:
            self._pending.setdefault(chain, _Change(ChainState(chain=chain, runs=[])))
        seconds = round(time.monotonic() - started, 1)
        logger.info("chains restored", chains=len(self.table.data), seconds=seconds)

    def _apply(self, latest: Mapping[bytes, bytes | None]) -> None:
        for key, value in latest.items():
            try:
                chain = orjson.loads(key)
                if not isinstance(chain, str):
                    raise TypeError(f"the key is no text but {type(chain).__name__}")  # noqa: TRY301
                if value is None:
                    self.table.data.pop(chain, None)
                else:
                    self.table.data[chain] = read_chain_state(orjson.loads(value))
            except Exception as exc:  # noqa: BLE001 - rule optional-parts-stop-nothing
                metrics.SKIPPED_CHAIN_RECORDS.inc()
                logger.warning(
                    "record of the chains' changelog skipped", error=describe_with_type(exc)
                )

    def receive(self, value: bytes | None) -> None:
        """Note what a message of the chain updates says.

        Raises
        ------
        ValueError, TypeError
            If it is not one that this service sends.
        """
        message = orjson.loads(value or b"")
        if "runs" in message:  # `faust -A app chains resync`
            self.rebuild(read_chain_state(message))
        else:
            self.note(read_chain_update(message))

    def note(self, update: ChainUpdate) -> None:
        """Note an update; `write` puts it into the table."""
        chain = str(update.chain)
        self._change(chain, _Change(ChainState(chain=chain, runs=[]).updated(update)))

    def rebuild(self, state: ChainState) -> None:
        """Note a state that was rebuilt from the Butler: it replaces what was before.

        Updates that come later are added to it.  A chain without runs is removed.
        """
        # A state without a list of runs is an error here, not a chain to remove.
        rebuilt = ChainState(chain=str(state.chain), runs=[*state.runs])
        self._change(rebuilt.chain, _Change(rebuilt, replaces=True))

    def _change(self, chain: str, later: _Change) -> None:
        before = self._pending.get(chain)
        if before is None and len(self._pending) >= MOST_CHAINS:
            metrics.SKIPPED_CHAIN_UPDATES.inc()
            return
        self._pending[chain] = later if before is None else before.then(later)

    def hold(self, event: HeldEvent) -> None:
        """Hold an event until its update is in the table."""
        self._held.append(event)
        if len(self._held) >= MOST_HELD:
            self._release(MOST_HELD)

    async def write(self) -> None:
        """Write the chains that have changed to the table, and release the events.

        What cannot be sent now is left to the next call.  If the table has too many chains, those
        that were written longest ago are removed.
        """
        if not self.is_restored:
            return
        epoch, held = self._epoch, len(self._held)
        for chain in self._surplus():
            empty = ChainState(chain=chain, runs=[])
            self._pending.setdefault(chain, _Change(empty, replaces=True))
        for chain in list(self._pending):
            changes = self._pending.pop(chain)
            try:
                state = await self._send_what_fits(chain, self._changed(chain, changes))
            except Exception as exc:  # noqa: BLE001 - rule optional-parts-stop-nothing
                logger.warning(
                    "the changelog of the chains cannot be written", error=describe_with_type(exc)
                )
                if epoch == self._epoch:
                    later = self._pending.get(chain)
                    self._pending[chain] = changes if later is None else changes.then(later)
                return
            if epoch != self._epoch:
                return
            if state is None:
                continue
            if state.runs:
                self.table.data[chain] = state
            else:
                self.table.data.pop(chain, None)
        self._release(held)

    def _surplus(self) -> list[str]:
        """Return the chains that were written longest ago, if the table has too many."""
        data = self.table.data
        chains, runs = len(data), sum(len(state.runs) for state in data.values())
        if chains <= MOST_CHAINS and runs <= MOST_RUNS:
            return []

        def last_write(chain: str) -> float:
            return max((run.last_write for run in data[chain].runs), default=0.0)

        surplus = []
        for chain in sorted(data, key=last_write):
            surplus.append(chain)
            chains, runs = chains - 1, runs - len(data[chain].runs)
            if chains <= MOST_CHAINS and runs <= MOST_RUNS:
                break
        logger.warning("the table has too many chains; the oldest are removed", chains=len(surplus))
        return surplus

    def _changed(self, chain: str, changes: _Change) -> ChainState:
        try:
            before = self.table.data.get(chain)
            if before is None or changes.replaces:
                return changes.state
            return before.merged(changes.state)
        except Exception as exc:  # noqa: BLE001 - rule optional-parts-stop-nothing
            logger.warning(
                "chain written anew, its state is bad", chain=chain, error=describe_with_type(exc)
            )
            return changes.state

    async def _send_what_fits(self, chain: str, state: ChainState) -> ChainState | None:
        """Send a state, with as many of the newest runs as fit into a message.

        Returns
        -------
        sent : `ChainState` or `None`
            What was sent; `None` if the chain is too large even with one run.
        """
        while True:
            try:
                await send_state(self.table, chain, state if state.runs else None)
            except MessageSizeTooLargeError:
                left = state.runs[: len(state.runs) // 2]
                logger.warning(
                    "chain too large for its changelog",
                    chain=chain[:_SHOWN],
                    runs=len(state.runs),
                    runs_kept=len(left),
                )
                if not left:
                    metrics.SKIPPED_CHAIN_UPDATES.inc()
                    return None
                state = ChainState(chain=chain, runs=left)
            else:
                return state

    def _release(self, number: int) -> None:
        """Release the events that were held first."""
        released, self._held = self._held[:number], self._held[number:]
        for event in released:
            event.release()
