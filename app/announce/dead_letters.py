"""Sends events that can never be written to the dead letters, whole, with the reason."""

from __future__ import annotations

from collections.abc import Mapping

from app.butler.outcome import Rejection
from app.intake.received import Received
from app.intake.windows import Arrival
from app.kafka.errors import MessageSizeTooLargeError
from app.kafka.sending import OutputTopic, Sender
from models.causes import Cause
from models.dead_letter import POINTS, DeadLetter, replays_of

__all__ = ["send_dead_letter"]

#: In bytes.  aiokafka computes the partition from the key, in Python: 2 s for 9 MiB, in which the
#: worker does nothing else (our measurement).
_LONGEST_KEY = 64 * 1024


async def send_dead_letter(
    sender: Sender, arrival: Arrival[Received], rejection: Rejection
) -> DeadLetter:
    """Send an event to the dead letters, and return once the brokers have it.

    A pointer replaces an event that is too large for the topic, has a long key, or has ended a
    worker.

    Parameters
    ----------
    sender : `Sender`
        Sends the letter.
    arrival : `Arrival` [`Received`]
        The event.
    rejection : `Rejection`
        Why it can never be written.

    Raises
    ------
    KafkaError
        If it was not delivered; it may be sent again.
    """
    entry, received = arrival.entry, arrival.payload
    value = received.value or b""  # a message must have a value or a key
    letter = DeadLetter.of(
        entry.partition,
        entry.offset,
        rejection.cause,
        rejection.reason,
        replays_of(received.headers),
    )
    headers = letter.headers()
    key_is_long = len(received.key or b"") > _LONGEST_KEY
    may_be_whole = rejection.cause is not Cause.ENDS_WORKER and not key_is_long
    if may_be_whole and await _send_whole(sender, received.key, value, headers):
        return letter
    headers = headers | {POINTS: b"true"}
    await sender.send(OutputTopic.DEAD_LETTERS, value=letter.pointer(value), headers=headers)
    return letter


async def _send_whole(
    sender: Sender, key: bytes | None, value: bytes, headers: Mapping[str, bytes]
) -> bool:
    """Send an event to the dead letters; return `False` if it is too large for the topic."""
    headers = {**headers, POINTS: b"false"}
    try:
        await sender.send(OutputTopic.DEAD_LETTERS, key=key, value=value, headers=headers)
    except MessageSizeTooLargeError:
        return False
    return True
