"""Releases what has waited: reads its messages again when they are due, and puts them in windows.

Only a worker that fills a downstream repository does so.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import Any

import structlog

from agents.collect import wait_for_room
from agents.waiting_table import WaitingTable
from app import app
from app.butler.descriptions import describe_with_type
from app.downstream.due_messages import DueMessage
from app.downstream.waiting import Due
from app.intake.received import size_of
from app.kafka.changelog import Changelog
from app.kafka.readers import Message, open_reader
from app.tables import waiting as table

__all__ = ["waiting_table"]

logger = structlog.get_logger("butler_writer")

#: Seconds between looks for what is due.
TICK = 0.25

#: Seconds between updates of the metrics.
SHOW_INTERVAL = 2.0

#: The most messages that are read again at once.
_AT_ONCE = 200

_SECOND = 1_000_000_000


def _made() -> WaitingTable | None:
    if table is None:
        return None
    changelog = Changelog(app.connection, table.changelog_topic.get_topic_name())
    return WaitingTable(table, changelog, app.settings.downstream.rules_id, _removals)


async def _removals() -> int:
    replica = app.parts.replica
    return 0 if replica is None else await asyncio.to_thread(replica.removals)


waiting_table = _made()
"""What waits; `None` if the worker fills no downstream repository."""


@app.timer(interval=TICK)
async def release_due() -> None:
    """Read the messages again of which something is due."""
    if waiting_table is None or not _may_release():
        return
    epoch = app.intake.epoch
    taken = waiting_table.take(_release_time(), _AT_ONCE, epoch)
    by_partition: defaultdict[int, dict[int, list[Due]]] = defaultdict(lambda: defaultdict(list))
    for due in taken:
        by_partition[due.partition][due.offset].append(due)
    left = set(taken)
    try:
        if by_partition:
            kafka = app.settings.kafka
            async with open_reader(app.connection, kafka.topic, kafka.max_message_bytes) as reader:
                for partition, dues in by_partition.items():
                    async for offset, message in reader.messages(partition, dues):
                        if app.intake.epoch != epoch or app.status.stopping:
                            return
                        for due in dues[offset]:
                            await _receive_again(due, message)
                            left.discard(due)
    except Exception as exc:  # noqa: BLE001 - rule no-exception-leaves-an-agent
        logger.warning("what is due cannot be read now", error=describe_with_type(exc))
    finally:
        waiting_table.give_back(left)


def _may_release() -> bool:
    is_running = not (app.status.stopping or app.rebalancing)
    return is_running and app.intake.has_room


def _now() -> int:
    replica = app.parts.replica
    return time.time_ns() if replica is None else replica.clock()


def _release_time() -> int:
    """Return the time up to which is released what is due; 0 in quiet hours."""
    replica = app.parts.replica
    return time.time_ns() if replica is None else replica.release_time()


async def _receive_again(due: Due, message: Message | None) -> None:
    """Put a message into the open window once more, for what is due of it."""
    assert waiting_table is not None  # noqa: S101 - for the type checker
    since = waiting_table.since(due)
    if message is None:
        payload = DueMessage(None, None, due=due, since=since, is_removed=True)
    else:
        payload = DueMessage(message.key, message.value, message.headers, due=due, since=since)
    size = size_of(payload.key, payload.value, payload.headers.items())
    now = time.monotonic()
    entry = app.intake.read_again(
        (app.settings.kafka.topic, due.partition),
        due.offset,
        size,
        # For the latency: how long after its time it is released.
        sent_at=min(due.time, _now()) / _SECOND,
        now=now,
    )
    if entry is not None:
        await app.wake_sink(app.intake.add(entry, payload, now))
        await wait_for_room()


@app.timer(interval=SHOW_INTERVAL)
async def show_waiting() -> None:
    """Show what waits in the metrics and on the pages; in quiet hours, nothing is overdue."""
    if waiting_table is not None and waiting_table.is_restored:
        waiting_table.show(_release_time())
        app.status.waiting = waiting_table.index
        if app.parts.replica is not None:
            app.parts.replica.exclusions.name(waiting_table.without_rule)


@app.on_partitions_revoked.connect
async def drop_waiting(*_: Any, **__: Any) -> None:
    """Forget what waits (rule rebalance-starts-a-new-epoch)."""
    if waiting_table is not None:
        waiting_table.revoke()
        app.status.waiting = None


@app.on_rebalance_complete.connect
async def restore_waiting(*_: Any, **__: Any) -> None:
    """Start to read what waits, beside the messages."""
    if waiting_table is not None:
        topic = app.settings.kafka.topic
        partitions = {tp.partition for tp in app.consumer.assignment() if tp.topic == topic}
        app.add_future(waiting_table.restore(partitions))
