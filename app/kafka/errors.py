"""The errors of Kafka that the rest of the service may catch."""

from __future__ import annotations

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    MessageSizeTooLargeError,
    OffsetMetadataTooLargeError,
    TopicAuthorizationFailedError,
)

from app.errors import OperatorError

__all__ = [
    "AuthorizationError",
    "IllegalStateError",
    "KafkaError",
    "MessageSizeTooLargeError",
    "OffsetMetadataTooLargeError",
    "TopicError",
]

#: An access right to a group or a topic is missing.
AuthorizationError = (GroupAuthorizationFailedError, TopicAuthorizationFailedError)


class TopicError(OperatorError):
    """A topic is missing, has the wrong configuration, or cannot be used by the Kafka user."""
