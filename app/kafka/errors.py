"""The errors of Kafka that the rest of the service may catch."""

from __future__ import annotations

from aiokafka.errors import IllegalStateError, KafkaError, MessageSizeTooLargeError

from app.errors import OperatorError

__all__ = ["IllegalStateError", "KafkaError", "MessageSizeTooLargeError", "TopicError"]


class TopicError(OperatorError):
    """A topic is missing, has the wrong configuration, or cannot be used by the Kafka user."""
