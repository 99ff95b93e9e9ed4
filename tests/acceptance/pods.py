"""Pods: a seeded load on the input topic, with some bad events."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from typing import Any, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tests.acceptance.bad_events import spoil
from tests.support.deployment import Deployment
from tests.support.events import DETECTORS, Night, encode

__all__ = ["Event", "Pods", "digest"]

Event: TypeAlias = dict[str, Any]

#: Seconds that the brokers may be unavailable before a pod gives up.
_PATIENCE = 300.0


class Pods:
    """Sends events in the same way as pods, and keeps them.

    An event may be in the log twice: a pod sends it again if the broker dies meanwhile.

    Parameters
    ----------
    deployment : `Deployment`
        The deployment with the input topic.
    seed : `int`
        Seed of the random numbers.

    Attributes
    ----------
    valid : `dict`
        The events that must be in the Butler at the end, by the digests of their messages.
    bad : `set`
        The digests of those that must be in the dead letters.
    dropped : `list`
        The digests of finished messages that the log has lost since, as often as it had them.
    prepare : `~collections.abc.Callable`
        Called with each event before it is sent; it may store artifacts.
    """

    def __init__(self, deployment: Deployment, seed: int) -> None:
        self.valid: dict[str, Event] = {}
        self.bad: set[str] = set()
        self.dropped: list[str] = []
        self.prepare: Callable[[Event], None] = lambda _: None
        self.night = Night(deployment.root, seed=seed)
        self._deployment = deployment
        self._rng = random.Random(seed)
        self._numbers = count()
        self._refused: list[KafkaError] = []
        self._at_work = threading.Lock()
        self._producer = Producer(
            {
                **deployment.cluster.client_config,
                "delivery.timeout.ms": int(_PATIENCE * 1000),
                "message.max.bytes": 12 * 2**20,
                "linger.ms": 0,
            }
        )

    def send(self, events: int = 1, *, bad: float = 0.0) -> None:
        """Send the next events of the night, some of them bad, and wait for the brokers."""
        for _ in range(events):
            self._send_next(bad)
        self._flush()

    def send_value(
        self, value: bytes | None, event: Event | None, *, clock: float | None = None
    ) -> None:
        """Send a given message.

        Parameters
        ----------
        value : `bytes` or `None`
            The message's value.
        event : `dict` or `None`
            The event that must be in the Butler at the end; `None` if the message is bad.
        clock : `float`, optional
            The pod's time, in seconds since the Unix epoch.
        """
        self._produce(value, 0, event, round((clock or time.time()) * 1000))
        self._flush()

    def transaction(self, producer: Producer, partition: int, *, commit: bool | None) -> None:
        """Send the next event of the night in a Kafka transaction of its own.

        Parameters
        ----------
        producer : `confluent_kafka.Producer`
            A producer of transactions that has none open.
        partition : `int`
            The partition.
        commit : `bool` or `None`
            Whether to commit or to abort it; `None` leaves it open, for the broker to abort.
        """
        event = self._next_event(next(self._numbers))
        producer.begin_transaction()
        producer.produce(self._deployment.topic, encode(event), partition=partition)
        assert producer.flush(_PATIENCE) == 0
        if commit:
            producer.commit_transaction(_PATIENCE)
            self.valid[digest(encode(event))] = event
        elif commit is not None:
            producer.abort_transaction(_PATIENCE)

    @contextmanager
    def load(self, *, rate: float = 40.0, bad: float = 0.0) -> Iterator[None]:
        """Send events at a rate (events/s) until the block ends, even without brokers."""
        over = threading.Event()

        def send() -> None:
            while not over.wait(1 / rate):
                self._send_next(bad)

        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send)
            try:
                yield
            finally:
                over.set()
            sending.result()
        self._flush()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop all pods until the block ends."""
        with self._at_work:
            yield

    def _send_next(self, bad: float) -> None:
        with self._at_work:
            number = next(self._numbers)
            event = self._next_event(number)
            partition = number % self._deployment.partitions
            if self._rng.random() < bad:
                self._produce(spoil(event, self._rng), partition, None)
            else:
                self._produce(encode(event), partition, event)

    def _next_event(self, number: int) -> Event:
        event = self.night.event(1 + number // DETECTORS, number % DETECTORS)
        self.prepare(event)
        return event

    def _produce(
        self, value: bytes | None, partition: int, event: Event | None, timestamp: int = 0
    ) -> None:
        while True:
            try:
                self._producer.produce(
                    self._deployment.topic,
                    value,
                    partition=partition,
                    timestamp=timestamp,
                    on_delivery=self._note,
                )
            except BufferError:  # the brokers are unavailable or slow
                self._producer.poll(1)
            else:
                break
        self._producer.poll(0)
        if event is None:
            self.bad.add(digest(value))
        else:
            self.valid[digest(value)] = event

    def _note(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._refused.append(error)

    def _flush(self) -> None:
        left = self._producer.flush(_PATIENCE)
        assert left == 0, f"{left} messages not sent within {_PATIENCE:g} s"
        if self._refused:
            raise KafkaException(self._refused[0])


def digest(value: bytes | None) -> str:
    """Return the digest of a message."""
    return sha256(value or b"").hexdigest()
