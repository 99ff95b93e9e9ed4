"""The agent ``chains`` keeps the table of what was written to each chain."""

from __future__ import annotations

import orjson
import structlog
from faust.types import StreamT

from app import app, topics
from app.kafka.held_events import held_events
from app.tables import chains as table
from models.chains import ChainState, ChainUpdate

logger = structlog.get_logger("butler_writer")


@app.agent(topics.chain_updates)
async def chains(stream: StreamT[bytes]) -> None:
    """Track each chain's runs and what was written to them, in the table ``chains``."""
    async for event in held_events(stream):
        try:
            apply(ChainUpdate.from_data(orjson.loads(event.value)))
        except Exception as exc:  # noqa: BLE001 - rule no-exception-leaves-an-agent
            logger.warning(
                "chain update skipped",
                partition=event.message.partition,
                offset=event.message.offset,
                error=repr(exc),
            )
        event.release()


def apply(update: ChainUpdate) -> None:
    """Apply an update to the table."""
    state = table.get(update.chain) or ChainState(chain=update.chain, runs=[])
    table[update.chain] = state.updated(update)
