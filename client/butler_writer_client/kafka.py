"""The input topic.  Each event is confirmed by the brokers, or reported as undelivered."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock

from confluent_kafka import KafkaError, KafkaException, Message, Producer

__all__ = ["KafkaTopic", "Undelivered"]

_MIB = 1024 * 1024

#: Kafka's overhead for an event.
_OVERHEAD = 64 * 1024

#: librdkafka gives up a message at its timeout, and reports it a moment later.
_GRACE = 5.0

#: Longest wait for a report, in seconds: with several threads, another may get this one's report.
_POLL = 0.01

#: Errors with which the brokers, or librdkafka before them, refuse a message for certain.
_REFUSALS = {
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_RECORD,
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.POLICY_VIOLATION,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._INVALID_ARG,
    KafkaError._QUEUE_FULL,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
}


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A message that no broker has confirmed.

    Attributes
    ----------
    reason : `str`
        Why.
    in_doubt : `bool`
        Whether the brokers may have it nevertheless; if not, they never will.
    """

    reason: str
    in_doubt: bool

    @classmethod
    def over(cls, error: KafkaError) -> Undelivered:
        """Interpret an error."""
        return cls(error.str(), in_doubt=error.code() not in _REFUSALS)


class KafkaTopic:
    """A topic to send events to; several threads may use it.

    It connects when it is first used, so it can be created before a process forks.

    Parameters
    ----------
    config : `~collections.abc.Mapping`
        librdkafka's properties, at least ``bootstrap.servers``.  The producer is always idempotent
        and waits for all in-sync replicas; all other properties can be set.
    name : `str`
        Name of the topic.
    max_event_bytes : `int`
        Size of the largest event that it accepts, in bytes, before compression.
    timeout : `float`
        Seconds after which an undelivered event is given up.
    """

    def __init__(
        self,
        config: Mapping[str, str | int | float | bool],
        name: str,
        *,
        max_event_bytes: int = 10 * _MIB,
        timeout: float = 60.0,
    ) -> None:
        self.name = name
        self.max_event_bytes = max_event_bytes
        self.timeout = timeout
        self._config = {
            "compression.type": "zstd",
            "linger.ms": 0,  # a pod waits for a single event
            "batch.num.messages": 1,  # one event's size must not cause another to be refused
            "message.max.bytes": max_event_bytes + _OVERHEAD,
            **config,
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": round(timeout * 1000),
        }
        self._lock = Lock()
        self._producer: Producer | None = None

    def send(self, values: Sequence[bytes]) -> list[Undelivered | None]:
        """Send events, and wait until the brokers have them.

        Parameters
        ----------
        values : `~collections.abc.Sequence` [`bytes`]
            The messages.

        Returns
        -------
        reports : `list` [`Undelivered` or `None`]
            One for each message; `None` if all in-sync replicas have it.
        """
        try:
            producer = self._connected()
        except KafkaException as exc:  # a property is invalid
            return [Undelivered.over(exc.args[0]) for _ in values]
        reports: dict[int, Undelivered | None] = {}
        deadline = time.monotonic() + self.timeout + _GRACE
        for number, value in enumerate(values):
            try:
                producer.produce(
                    self.name, value=value, on_delivery=partial(self._note, reports, number)
                )
            except KafkaException as exc:
                reports[number] = Undelivered.over(exc.args[0])
            except BufferError as exc:
                reports[number] = Undelivered(str(exc), in_doubt=False)
        while len(reports) < len(values) and time.monotonic() < deadline:
            producer.poll(_POLL)
        late = Undelivered(f"no answer within {self.timeout:g} s", in_doubt=True)
        return [reports.get(number, late) for number in range(len(values))]

    def _connected(self) -> Producer:
        with self._lock:
            if self._producer is None:
                self._producer = Producer(self._config)
            return self._producer

    def _note(
        self,
        reports: dict[int, Undelivered | None],
        number: int,
        error: KafkaError | None,
        message: Message,
    ) -> None:
        reports[number] = None if error is None else Undelivered.over(error)
        if error is not None and error.fatal():
            # It refuses all further messages; the next send creates a new producer.
            self._producer = None
