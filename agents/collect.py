"""Collect: pods' events, each into the ledger at once, then into the open window."""

from __future__ import annotations

import time

import structlog
from faust.types import TP, StreamT

from app import app, topics
from app.intake.ledger import Receipt
from app.intake.received import Received
from app.intake.windows import Window
from app.kafka.held_events import HeldEvent, held_events
from app.telemetry import metrics

logger = structlog.get_logger("butler_writer")

#: How often due windows are looked for, in seconds; small against any window.
TICK = 0.05

#: How often the end of the log is compared with what has arrived, in seconds; longer than a fetch
#: takes.
TAIL_INTERVAL = 5.0


@app.agent(topics.events)
async def collect(stream: StreamT[bytes]) -> None:
    """Group the pods' events in tumbling windows; nothing is acked here."""
    async for event in held_events(stream):
        if app.status.stopping:
            continue  # not entered, not acked: it is redelivered
        await app.wake_sink(receive(event, time.monotonic()))
        await wait_for_room()


def receive(event: HeldEvent, now: float) -> list[Window[Received]]:
    """Enter an event, and put it into its window; return the windows that this closed."""
    message = event.message
    partition = (message.topic, message.partition)
    receipt, entry = app.intake.receive(
        partition, message.offset, len(message.value or b""), event.release
    )
    metrics.RECEIPTS.labels(receipt.value).inc()
    if receipt is Receipt.JUMPED:
        logger.warning(
            "offsets are missing; reading again from the committed ones",
            partition=message.partition,
            offset=message.offset,
        )
        app.add_future(app.positions.read_again())
    if entry is None:
        return []
    received = Received(message.key, message.value, dict(message.headers or ()))
    return app.intake.add(entry, received, now)


async def wait_for_room() -> None:
    """At the bound on bytes held, take no more until something was written."""
    epoch = app.intake.epoch
    while not app.intake.has_room and app.intake.epoch == epoch:
        app.room.clear()
        await app.room.wait()


@app.timer(interval=TICK)
async def close_due_windows() -> None:
    """Close the window whose boundary has passed, also while no event arrives."""
    await app.wake_sink(app.intake.close_due(time.monotonic()))


@app.timer(interval=TAIL_INTERVAL)
async def look_for_lost_tail() -> None:
    """Read again if the log's end stays ahead of what has arrived (rule no-gaps-in-offsets)."""
    if app.status.stopping or app.rebalancing:
        return
    ends = {
        (topic, partition): app.consumer.highwater(TP(topic, partition)) or 0
        for topic, partition in app.intake.ledger.state()
    }
    if app.intake.misses_tail(ends):
        logger.warning("the log's end is ahead of what has arrived; reading again", ends=ends)
        await app.positions.read_again()
