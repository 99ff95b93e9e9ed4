"""The agent ``collect`` enters each event into the ledger and puts it into the open window."""

from __future__ import annotations

import time

import structlog
from faust.types import StreamT

from app import app, topics
from app.intake.ledger import Partition, Receipt
from app.intake.received import Received, Undecodable, size_of
from app.intake.windows import Window
from app.kafka.held_events import HeldEvent, held_events
from app.telemetry import metrics
from models.causes import Cause
from models.errors import CausedError

logger = structlog.get_logger("butler_writer")

#: Why an event is set aside that a worker has tried alone, and that this worker has found.
ENDS_WORKER = (
    "workers ended again and again at this offset, the last one while it tried this event alone: "
    "it crashed, hung, or was killed, for example for lack of memory"
)

#: Seconds between checks for due windows; much shorter than any window.
TICK = 0.05

#: Seconds between comparisons of what was fetched with what has arrived; longer than a fetch takes.
TAIL_INTERVAL = 5.0

#: Seconds between looks for partitions whose position the brokers have refused.
RESET_INTERVAL = 0.5

#: Seconds between looks for the ends of the logs: the lag is at most this old.
LOG_END_INTERVAL = 5.0


@app.agent(topics.events)
async def collect(stream: StreamT[bytes]) -> None:
    """Group the pods' events in tumbling windows; nothing is acked here."""
    async for event in held_events(stream):
        if app.status.stopping:
            continue  # it gets no entry and no ack, so it will be redelivered
        message = event.message
        await app.careful.begin((message.topic, message.partition), message.offset)
        await app.wake_sink(receive(event, time.monotonic()))
        await wait_for_room()
        await finish_alone()


def receive(event: HeldEvent, now: float) -> list[Window[Received]]:
    """Enter an event into the ledger and a window; return the windows that closed."""
    message = event.message
    partition = (message.topic, message.partition)
    headers = dict(message.headers or ())
    size = size_of(message.key, message.value, headers.items())
    receipt, entry = app.intake.receive(
        partition, message.offset, size, event.release, sent_at=message.timestamp, now=now
    )
    metrics.RECEIPTS.labels(receipt.value).inc()
    if receipt is Receipt.JUMPED:
        logger.warning(
            "fetched events are missing; reading again from the committed offsets",
            partition=message.partition,
            offset=message.offset,
        )
        app.add_future(app.positions.read_again())
    if entry is None:
        return []
    refused = refusal(partition, message.offset, message.value)
    received = Received(message.key, message.value, headers, refused)
    event.drop_content()
    return app.intake.add(entry, received, now)


def refusal(partition: Partition, offset: int, value: bytes | None) -> CausedError | None:
    """Return why nothing of an event may be decoded, if that is so."""
    if isinstance(value, Undecodable):
        return CausedError(Cause.UNDECODABLE_MESSAGE, value.reason)
    if app.careful.is_suspect(partition, offset):
        return CausedError(Cause.ENDS_WORKER, ENDS_WORKER)
    return None


async def finish_alone() -> None:
    """Wait until nothing is left to write, if events are tried one at a time."""
    if not app.careful.is_on:
        return
    epoch = app.intake.epoch
    await app.wake_sink(app.intake.close())
    while not app.intake.is_empty and app.intake.epoch == epoch:
        app.room.clear()
        await app.room.wait()
    await app.careful.end()


async def wait_for_room() -> None:
    """At the bound on bytes held, wait until something was written."""
    epoch = app.intake.epoch
    while not app.intake.has_room and app.intake.epoch == epoch:
        app.room.clear()
        await app.room.wait()


@app.timer(interval=TICK)
async def close_due_windows() -> None:
    """Close the window whose boundary has passed, even if no event arrives."""
    await app.wake_sink(app.intake.close_due(time.monotonic()))


@app.timer(interval=TICK)
async def put_back_postponed_windows() -> None:
    """Let the sink try events again that wait apart (rule one-event-holds-up-no-other)."""
    if not app.status.stopping:
        await app.wake_sink(app.intake.put_back(time.monotonic()))


@app.timer(interval=TAIL_INTERVAL)
async def look_for_lost_tail() -> None:
    """Read again if fetched events do not arrive (rule no-gaps-in-offsets)."""
    if app.status.stopping or app.rebalancing:
        return
    missing = app.intake.ledger.missing()
    if app.intake.misses_tail():
        logger.warning("fetched events have not arrived; reading again", missing=missing)
        await app.positions.read_again()


@app.timer(interval=RESET_INTERVAL)
async def look_for_resets() -> None:
    """Read again if the log went back behind what was read (rule no-gaps-in-offsets)."""
    if app.status.stopping or app.rebalancing:
        return
    await app.replaced_logs.look()
    if resets := app.intake.drop_reset():
        app.status.logs_reset(resets)
        await app.positions.read_again()


@app.timer(interval=TAIL_INTERVAL)
async def commit_past_markers() -> None:
    """Commit past transaction markers at the end of a partition: no event will do so."""
    if not (app.status.stopping or app.rebalancing):
        await app.positions.commit(app.intake.ledger.pass_over_gaps())


@app.timer(interval=LOG_END_INTERVAL)
async def look_for_log_ends() -> None:
    """Look how far the logs go, for the lag."""
    if not (app.status.stopping or app.rebalancing):
        await app.log_ends.look()


@app.timer(interval=TAIL_INTERVAL)
async def look_for_open_transactions() -> None:
    """Report a sender that holds reading back, because its transaction stays open."""
    if not (app.status.stopping or app.rebalancing):
        app.open_transactions.look(time.monotonic())
