"""The topics, and how their messages are encoded.

Keys and values are raw bytes, and decoding happens inside the agents: if a codec of Faust raised an
exception, Faust would commit the event (rule no-exception-leaves-an-agent).
"""

from __future__ import annotations

from typing import Any

from faust.types import TopicT

from app import app

__all__ = ["batches_ingested", "chain_updates", "dead_letters", "events"]

_kafka = app.settings.kafka


def _raw(name: str, **options: Any) -> TopicT:
    return app.topic(
        name,
        key_type=bytes,
        key_serializer="raw",
        value_type=bytes,
        value_serializer="raw",
        **options,
    )


events = _raw(_kafka.topic)
"""`PromptOutput` events from the pods."""

dead_letters = _raw(_kafka.dead_letter_topic)
"""Events that can never be written, whole, with the reason in their headers."""

batches_ingested = _raw(_kafka.output_topic)
"""`BatchIngested` announcements, for the publication service (DMTN-330)."""

chain_updates = _raw(_kafka.chain_update_topic)
"""`ChainUpdate` messages, keyed by chain."""
