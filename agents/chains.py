"""The agent ``chains`` keeps the table of what was written to each chain."""

from __future__ import annotations

from typing import Any

import structlog
from faust.types import TP, StreamT

from agents.chain_table import ChainTable
from app import app, topics
from app.butler.descriptions import describe_with_type
from app.kafka.changelog import Changelog
from app.kafka.held_events import held_events
from app.tables import chains as table
from app.telemetry import metrics

logger = structlog.get_logger("butler_writer")

#: Seconds between two writes of the chains that have changed.
WRITE_INTERVAL = 5.0

_changelog_topic = table.changelog_topic.get_topic_name()

chain_table = ChainTable(table, Changelog(app.connection, _changelog_topic))


@app.agent(topics.chain_updates)
async def chains(stream: StreamT[bytes]) -> None:
    """Track each chain's runs and what was written to them, in the table ``chains``."""
    async for event in held_events(stream):
        try:
            chain_table.receive(event.value)
        except Exception as exc:  # noqa: BLE001 - rule no-exception-leaves-an-agent
            metrics.SKIPPED_CHAIN_UPDATES.inc()
            logger.warning(
                "chain update skipped",
                partition=event.message.partition,
                offset=event.message.offset,
                error=describe_with_type(exc),
            )
        chain_table.hold(event)


@app.timer(interval=WRITE_INTERVAL)
async def write_chains() -> None:
    """Write the chains that have changed."""
    await chain_table.write()


@app.on_partitions_revoked.connect
async def drop_updates(*_: Any, **__: Any) -> None:
    """Forget what will be redelivered (rule rebalance-starts-a-new-epoch)."""
    chain_table.revoke()
    app.status.keeps_chains = False


@app.on_rebalance_complete.connect
async def restore_table(*_: Any, **__: Any) -> None:
    """Start to read the changelog, beside the events."""
    is_ours = TP(_changelog_topic, 0) in app.consumer.assignment()
    app.add_future(_restore(is_ours=is_ours))


async def _restore(*, is_ours: bool) -> None:
    await chain_table.restore(is_ours=is_ours)
    app.status.keeps_chains = chain_table.is_restored
