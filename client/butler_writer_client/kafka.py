"""The input topic.  Each event is confirmed by the brokers, or reported as undelivered."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from butler_writer_client.kafka_reasons import DeliveryReasons

__all__ = ["KafkaTopic", "Undelivered"]

_MIB = 1024 * 1024

#: Kafka's overhead for an event.
_OVERHEAD = 64 * 1024

#: librdkafka gives up a message at its timeout, and reports it a moment later.
_GRACE = 5.0

#: Longest wait for a report, in seconds: with several threads, another may get this one's report.
_POLL = 0.01

#: Longest time that librdkafka waits for a topic that it does not find, in seconds.
_TOPIC_WAIT = 30.0

#: Limits of librdkafka: bytes of a message, and seconds of a delivery.
_LARGEST_MESSAGE = 1_000_000_000
_LONGEST_TIMEOUT = 2**31 / 1000

_TOPIC_NAME = re.compile(r"(?!\.\.?$)[a-zA-Z0-9._-]{1,249}")

#: Errors with which the brokers, or librdkafka before them, refuse a message for certain.
_REFUSALS = {
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_RECORD,
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.POLICY_VIOLATION,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._INVALID_ARG,
    KafkaError._QUEUE_FULL,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
}


#: With these, messages are given up because of a fatal error of their producer.
_CONSEQUENCES = {KafkaError._FATAL, KafkaError._PURGE_INFLIGHT, KafkaError._PURGE_QUEUE}


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A message that no broker has confirmed.

    Attributes
    ----------
    reason : `str`
        Why, in one line that names the topic, the brokers, and the setting to look at.
    in_doubt : `bool`
        Whether the brokers may have it nevertheless; if not, they never will.
    """

    reason: str
    in_doubt: bool


class KafkaTopic:
    """A topic to send events to; several threads may use it.

    It connects when it is first used.  After a fork, the child connects for itself.

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

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an argument cannot be used, or ``config`` names no brokers.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        name: str,
        *,
        max_event_bytes: int = 10 * _MIB,
        timeout: float = 60.0,
    ) -> None:
        _check(config, name, max_event_bytes, timeout)
        self.name = name
        self.max_event_bytes = max_event_bytes
        self.timeout = timeout
        self._reasons = DeliveryReasons(config, name, max_event_bytes, timeout)
        self._config = {
            "compression.type": "zstd",
            "linger.ms": 0,  # a pod waits for a single event
            "batch.num.messages": 1,  # one event's size must not cause another to be refused
            "message.max.bytes": max_event_bytes + _OVERHEAD,
            "topic.metadata.propagation.max.ms": round(min(_TOPIC_WAIT, timeout / 2) * 1000),
            **config,
            "error_cb": partial(self._note_error, config.get("error_cb")),
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": round(timeout * 1000),
        }
        # By process: the threads of a producer do not survive a fork.  There is no lock, since
        # another thread might hold it at the fork.
        self._producers: dict[int, Producer] = {}
        self._fatal: KafkaError | None = None

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

        Raises
        ------
        TypeError
            If one of them is not `bytes`.
        """
        values = list(values)
        for value in values:
            if not isinstance(value, bytes):
                raise TypeError(f"an event is of type {type(value).__name__}: give bytes")
        try:
            producer = self._connected()
        except KafkaException as exc:  # a property is invalid
            reason = self._reasons.of(exc.args[0])
            return [Undelivered(reason, in_doubt=False) for _ in values]
        reports: dict[int, Undelivered | None] = {}
        begin = time.monotonic()
        deadline = begin + self.timeout + _GRACE
        for number, value in enumerate(values):
            try:
                producer.produce(
                    self.name, value=value, on_delivery=partial(self._note, reports, number, begin)
                )
            except KafkaException as exc:
                reports[number] = self._undelivered(exc.args[0], begin)
            except BufferError:
                reports[number] = self._undelivered(KafkaError(KafkaError._QUEUE_FULL), begin)
        while len(reports) < len(values) and time.monotonic() < deadline:
            try:
                producer.poll(_POLL)
            except KafkaException as exc:  # it is fatal; reports of the messages follow
                self._fatal = exc.args[0]
                self._drop_if_fatal(exc.args[0])
        if len(reports) < len(values):
            late = Undelivered(self._reasons.of_timeout(begin), in_doubt=True)
            return [reports.get(number, late) for number in range(len(values))]
        return [reports[number] for number in range(len(values))]

    def _connected(self) -> Producer:
        process = os.getpid()
        if (producer := self._producers.get(process)) is None:
            producer = self._producers.setdefault(process, Producer(self._config))
        return producer

    def _note_error(self, then: Callable[[KafkaError], None] | None, error: KafkaError) -> None:
        self._reasons.note(error)
        if then is not None:
            then(error)

    def _note(
        self,
        reports: dict[int, Undelivered | None],
        number: int,
        begin: float,
        error: KafkaError | None,
        message: Message,
    ) -> None:
        reports[number] = None if error is None else self._undelivered(error, begin)

    def _drop_if_fatal(self, error: KafkaError) -> None:
        """Drop a producer that refuses all further messages; the next send creates a new one."""
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._producers.pop(os.getpid(), None)

    def _undelivered(self, error: KafkaError, begin: float) -> Undelivered:
        self._drop_if_fatal(error)
        if error.code() in _CONSEQUENCES and self._fatal is not None:
            error = self._fatal
        timed_out = error.code() == KafkaError._MSG_TIMED_OUT
        reason = self._reasons.of_timeout(begin) if timed_out else self._reasons.of(error)
        return Undelivered(reason, in_doubt=error.code() not in _REFUSALS)


def _check(config: Mapping[str, object], name: str, max_event_bytes: int, timeout: float) -> None:
    """Refuse arguments that librdkafka reports late, or not at all."""
    if not isinstance(config, Mapping):
        raise TypeError(f"config={config!r}: give librdkafka's properties by name")
    if not config.get("bootstrap.servers"):
        raise ValueError("config lacks 'bootstrap.servers': give the brokers, 'host:port,...'")
    if not isinstance(servers := config["bootstrap.servers"], str):
        raise TypeError(f"bootstrap.servers={servers!r}: give the brokers, 'host:port,...'")
    if "transactional.id" in config:
        raise ValueError("config has 'transactional.id': events are sent without transactions")
    if not isinstance(name, str):
        raise TypeError(f"name={name!r}: give the topic's name")
    if not _TOPIC_NAME.fullmatch(name):
        raise ValueError(f"name={name!r}: no topic can have this name (letters, digits, . _ -)")
    if isinstance(max_event_bytes, bool) or not isinstance(max_event_bytes, int):
        raise TypeError(f"max_event_bytes={max_event_bytes!r}: give a number of bytes")
    if not 0 < max_event_bytes <= _LARGEST_MESSAGE - _OVERHEAD:
        raise ValueError(f"max_event_bytes={max_event_bytes}: it must be positive, and below 1 GB")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout={timeout!r}: give a number of seconds")
    if not math.isfinite(timeout) or not 0 < timeout < _LONGEST_TIMEOUT:
        raise ValueError(f"timeout={timeout}: it must be positive, and below 24 days")
