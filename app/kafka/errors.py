"""The errors of Kafka that the rest of the service may catch."""

from __future__ import annotations

from aiokafka.errors import IllegalStateError, KafkaError, MessageSizeTooLargeError

__all__ = ["IllegalStateError", "KafkaError", "MessageSizeTooLargeError"]
