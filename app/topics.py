"""The topics, and how their messages are encoded.

Keys and values are raw bytes, and decoding happens inside the agents: if a codec of Faust raised an
exception, Faust would commit the event (rule no-exception-leaves-an-agent).
"""

from __future__ import annotations

from typing import Any

from faust.types import TopicT

from app import app
from app.kafka.sending import OutputTopic

__all__ = ["chain_updates", "events", "outputs"]

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
"""`PromptOutput` events from the pods; or the product log, which a downstream role reads."""

chain_updates = _raw(_kafka.chain_update_topic)
"""`ChainUpdate` messages, keyed by chain."""

outputs = {
    OutputTopic.DEAD_LETTERS: _raw(_kafka.dead_letter_topic),
    OutputTopic.CHAIN_UPDATES: chain_updates,
    **({OutputTopic.BATCHES_INGESTED: _raw(_kafka.output_topic)} if _kafka.announces else {}),
}
if _kafka.product_topic is not None:
    outputs[OutputTopic.PRODUCTS] = _raw(_kafka.product_topic)
"""The topics that a flush sends to."""
