"""Why an event was not delivered, in one line that names the brokers, the topic and the setting."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError

__all__ = ["DeliveryReasons"]

#: What to do about errors of the brokers.
_REMEDIES = {
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: (
        "{user} needs WRITE on the topic (sasl.username), before Kafka 2.8 also IDEMPOTENT_WRITE "
        "on the cluster"
    ),
    KafkaError.MSG_SIZE_TOO_LARGE: (
        "compare max_event_bytes={max_event_bytes} with the topic's max.message.bytes"
    ),
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "{user} needs WRITE on the topic (sasl.username)",
    KafkaError.TOPIC_EXCEPTION: "check the topic's name",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "check the topic's name, or create the topic",
    KafkaError._QUEUE_FULL: (
        "raise queue.buffering.max.messages and queue.buffering.max.kbytes, or send fewer at once"
    ),
    KafkaError._UNKNOWN_TOPIC: "check the topic's name, or create the topic",
}

#: What to check if no connection is possible.
_CHECKS = {
    KafkaError._AUTHENTICATION: "check sasl.mechanism, sasl.username and sasl.password",
    KafkaError._RESOLVE: "check bootstrap.servers",
    KafkaError._SSL: "check security.protocol and ssl.ca.location",
    KafkaError._TRANSPORT: "check bootstrap.servers, security.protocol and ssl.ca.location",
}

_STATE = re.compile(r" \(after \d+ms in state \w+(, \d+ identical error\(s\) suppressed)?\)")


class DeliveryReasons:
    """Explains why events are not delivered.

    librdkafka reports an event that it has given up only as timed out.  The cause is in the errors
    of its connections, which it reports separately.

    Parameters
    ----------
    config : `~collections.abc.Mapping`
        The producer's properties.
    topic : `str`
        Name of the topic.
    max_event_bytes : `int`
        Size of the largest event, in bytes.
    timeout : `float`
        Seconds after which an event is given up.
    """

    def __init__(
        self, config: Mapping[str, Any], topic: str, max_event_bytes: int, timeout: float
    ) -> None:
        self._servers = config["bootstrap.servers"]
        self._protocol = str(config.get("security.protocol", "plaintext")).lower()
        self._topic = topic
        self._timeout = timeout
        user = config.get("sasl.username")
        self._values = {
            "user": f"the user {user!r}" if user else "a pod without a login",
            "max_event_bytes": max_event_bytes,
        }
        self._error: tuple[float, str] = (0.0, "")
        self._disconnected = 0.0

    def note(self, error: KafkaError) -> None:
        """Note an error of a connection (librdkafka's ``error_cb``)."""
        now = time.monotonic()
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._disconnected = now
            return
        text = _STATE.sub("", error.str())
        check = _CHECKS.get(error.code())
        self._error = (now, f"{text}; {check}" if check else text)

    def of(self, error: KafkaError) -> str:
        """Return the reason for an error of one event."""
        remedy = _REMEDIES.get(error.code())
        text = error.str() if remedy is None else f"{error.str()}; {remedy.format(**self._values)}"
        return self._in_one_line(text)

    def of_timeout(self, since: float) -> str:
        """Return the reason why an event that was sent at a time has not been confirmed."""
        noted, cause = self._error
        if noted < since:
            cause = "no broker has answered; check bootstrap.servers and security.protocol"
            if self._disconnected >= since:
                cause = (
                    f"the brokers close each connection; check security.protocol (it is "
                    f"{self._protocol}): they may require TLS (ssl, sasl_ssl) or a login (sasl_...)"
                )
        return self._in_one_line(f"not confirmed within {self._timeout:g} s: {cause}")

    def _in_one_line(self, text: str) -> str:
        where = f"topic {self._topic!r} at bootstrap.servers={self._servers!r}"
        return " ".join(f"{where}: {text}".split())
