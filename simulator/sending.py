"""Simulates how pods transfer their outputs, each at its time of the night."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from butler_writer_client import KafkaTopic, Mode, PromptOutputWriter, TransferError
from simulator.bad_events import spoil
from simulator.event import event_of, write_outputs
from simulator.night import Night, Pod
from testbed.cluster import Cluster

__all__ = ["NoTopicError", "Sender"]

#: Number of pods that transfer their outputs at the same time.
_PODS_AT_ONCE = 4
#: Number of pods that may wait for that.  It bounds the memory if pods end faster than they send.
_PODS_WAITING = 1000
#: Longest time between two calls of ``tick``, in seconds.
_INTERVAL = 0.2


class NoTopicError(Exception):
    """The topic does not exist."""


@dataclass
class Sender:
    """Simulates a night.

    Attributes
    ----------
    night : `Night`
        The night.
    cluster : `Cluster`
        The brokers.
    topic : `str`
        The input topic.
    root : `pathlib.Path`
        Repository that the artifacts belong to.
    staging : `str`, optional
        URI of the staging root; if omitted, artifacts are stored at their final location.
    duplicates, spoiled : `float`
        Fractions of events that are sent twice, and that are followed by a spoiled event.
    on_sent : `~collections.abc.Callable`
        Called with each pod whose event the brokers have; never concurrently.
    timeout : `float`
        Seconds after which an event that the brokers do not confirm is given up.
    events, spoiled_events, messages : `int`
        Number of pods that have sent, of spoiled events, and of all messages.
    """

    night: Night
    cluster: Cluster
    topic: str
    root: Path
    staging: str | None = None
    duplicates: float = 0.0
    spoiled: float = 0.0
    on_sent: Callable[[Pod], None] = lambda _: None
    timeout: float = 60.0
    events: int = 0
    spoiled_events: int = 0
    messages: int = 0

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._topic = KafkaTopic(self.cluster.client_config, self.topic, timeout=self.timeout)
        self._writer = PromptOutputWriter(
            self._topic,
            self.staging or str(self.root),
            mode=Mode.STAGING if self.staging else Mode.FINAL,
        )

    @property
    def duplicate_events(self) -> int:
        """Number of events that were sent once more."""
        return self.messages - self.events - self.spoiled_events

    def run(self, tick: Callable[[], None]) -> None:
        """Let all pods send, and return when the brokers have all events.

        Parameters
        ----------
        tick : `~collections.abc.Callable`
            Called several times a second, also while pods wait; an exception ends the night.

        Raises
        ------
        NoTopicError
            If the topic does not exist.
        butler_writer_client.TransferError
            If an artifact cannot be stored, or an event is not delivered.
        confluent_kafka.KafkaException
            If the brokers cannot be reached.
        """
        if self.topic not in self.cluster.topics():
            raise NoTopicError(f"there is no topic {self.topic}")
        under_way: deque[Future[None]] = deque()
        with ThreadPoolExecutor(_PODS_AT_ONCE) as pods:
            try:
                for pod in self._as_they_end(tick):
                    under_way.append(pods.submit(self._finish, pod))
                    _await(under_way, _PODS_WAITING, tick)
                _await(under_way, 0, tick)
            except BaseException:
                pods.shutdown(cancel_futures=True)
                raise

    def _as_they_end(self, tick: Callable[[], None]) -> Iterator[Pod]:
        """Yield pods in real time; the night begins when its first pod ends."""
        begin: float | None = None
        for seconds, pod in self.night.pods():
            begin = time.monotonic() - seconds if begin is None else begin
            while (left := begin + seconds - time.monotonic()) > 0:
                time.sleep(min(left, _INTERVAL))
                tick()
            tick()
            yield pod

    def _finish(self, pod: Pod) -> None:
        rng = random.Random(f"{self.night.seed}/mishaps/{pod.visit.id}/{pod.detector.id}")
        copies = 2 if rng.random() < self.duplicates else 1
        spoiled = rng.random() < self.spoiled
        with TemporaryDirectory(prefix="pod-") as name:
            artifacts = write_outputs(pod, Path(name))
            for _ in range(copies):
                self._writer.transfer(pod.records, artifacts)
        if spoiled:
            (undelivered,) = self._topic.send([spoil(event_of(pod), rng)])
            if undelivered:
                raise TransferError(undelivered.reason)
        with self._lock:
            self.on_sent(pod)
            self.events += 1
            self.spoiled_events += spoiled
            self.messages += copies + spoiled


def _await(under_way: deque[Future[None]], most: int, tick: Callable[[], None]) -> None:
    """Wait until at most so many pods are under way; the first failure is raised."""
    while under_way and (under_way[0].done() or len(under_way) > most):
        if wait([under_way[0]], _INTERVAL).done:
            under_way.popleft().result()
        else:
            tick()
