"""Messages that matter: each is awaited until the brokers have it."""

from __future__ import annotations

from typing import Any

import structlog
from aiokafka.errors import MessageSizeTooLargeError
from faust.exceptions import ProducerSendError
from faust.types import TopicT

from app import topics
from app.butler.outcome import Rejection
from app.intake.received import Received
from app.intake.windows import Arrival
from app.telemetry import metrics
from models.dead_letter import DeadLetter

__all__ = ["send", "send_dead_letter"]

logger = structlog.get_logger("butler_writer")


async def send(topic: TopicT, **message: Any) -> None:
    """Send a message, and wait until every in-sync replica has it (rule sends-are-awaited)."""
    try:
        await (await topic.send(**message))
    except ProducerSendError as exc:  # Faust's, around the one that says why
        raise exc.__cause__ or exc from None


async def send_dead_letter(arrival: Arrival[Received], rejection: Rejection) -> None:
    """Send one event to the dead letters, and wait until the broker has it."""
    entry = arrival.entry
    value = arrival.payload.value or b""  # a message must have a value or a key
    letter = DeadLetter.of(
        entry.partition,
        entry.offset,
        rejection.cause.value,
        rejection.reason,
        arrival.payload.replays,
    )
    try:
        await send(
            topics.dead_letters, key=arrival.payload.key, value=value, headers=letter.headers()
        )
    except MessageSizeTooLargeError:
        pointer = letter.pointer(value)
        await send(topics.dead_letters, value=pointer, headers=letter.headers())
    metrics.DEAD_LETTERS.labels(letter.error_class).inc()
    logger.error(
        "event set aside",
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        error_class=letter.error_class,
        reason=letter.reason,
    )
