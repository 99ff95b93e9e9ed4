"""The topic that events go to: what was sent is there, or it is said that it may not be."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock

from confluent_kafka import KafkaError, KafkaException, Message, Producer

__all__ = ["KafkaTopic", "Undelivered"]

_MIB = 1024 * 1024

#: Room for what Kafka puts around an event.
_OVERHEAD = 64 * 1024

#: librdkafka gives up a message at its timeout, and says so a moment later.
_GRACE = 5.0

#: Seconds that one wait for a report may take: with several threads, each may get the others'.
_POLL = 0.01

#: By these the brokers, or librdkafka before them, say that they did not take a message.
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
    """A message of which no broker has said that it has it.

    Attributes
    ----------
    reason : `str`
        Why.
    in_doubt : `bool`
        Whether it may be there nevertheless; if not, it never will be.
    """

    reason: str
    in_doubt: bool

    @classmethod
    def over(cls, error: KafkaError) -> Undelivered:
        """Say what an error means."""
        return cls(error.str(), in_doubt=error.code() not in _REFUSALS)


class KafkaTopic:
    """A topic that takes events; may be used by several threads.

    Connects when it is first used, so that it can be made before a process forks.

    Parameters
    ----------
    config : `~collections.abc.Mapping`
        librdkafka's properties, ``bootstrap.servers`` at least.  An idempotent producer that waits
        for all in-sync replicas is not to be had otherwise; everything else is.
    name : `str`
        Name of the topic.
    max_event_bytes : `int`
        Size of the largest event that it takes, before compression.
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
            "linger.ms": 0,  # a pod waits for its one event
            "batch.num.messages": 1,  # an event must not be refused over another one's size
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
            For each of them, `None` once all in-sync replicas have it.
        """
        try:
            producer = self._connected()
        except KafkaException as exc:  # a property is wrong
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
            # It takes no message any more, and says so of each: the next is another one's.
            self._producer = None
