"""The fault laboratory: a service under load, something goes wrong, and then the books are made.

What was sent must be in the Butler or in the dead letters, each dataset once, each announced, the
committed offsets at the end of the log, the run in its chain.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from app.butler.presence import look_up
from tests.acceptance.poison import spoil
from tests.deployment import Deployment
from tests.events import (
    CHAIN,
    DATASET_TYPES,
    DETECTORS,
    RUN,
    Night,
    dataset_ids,
    encode,
    stored_ids,
)
from tests.flow import partitions_of
from tests.parts.worker import Worker

__all__ = ["FAIL_POINTS", "Laboratory", "Tally"]

FAIL_POINTS = Path(__file__).parent / "fail_points"

#: Timeouts that are shorter than in production, so that a scenario takes seconds.
SHORTENED = {
    "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "6",
    "BUTLER_WRITER_KAFKA_REBALANCE_TIMEOUT": "20",
    "BUTLER_WRITER_KAFKA_COMMIT_INTERVAL": "0.5",
    "BUTLER_WRITER_RETRY_WAIT_MAX": "2",
    "BUTLER_WRITER_LOCK_TIMEOUT": "5",
    "BUTLER_WRITER_MISSING_FILE_TRIES": "2",
    "BUTLER_WRITER_MISSING_FILE_WAIT": "0.1",
    "BUTLER_WRITER_WINDOW_SECONDS": "0.5",
}


@dataclass(frozen=True)
class Tally:
    """The books of a scenario, in events.

    Attributes
    ----------
    sent : `int`
        Messages that the broker had, poisoned ones and repeated ones too.
    written : `int`
        Of these, the messages whose datasets are all in the Butler with their artifacts.
    dead : `int`
        Of these, the messages that are in the dead letters.
    lost, twice : `int`
        Messages in neither, and datasets that are there more than once.
    redelivered : `int`
        Events that were announced again: written before, delivered once more, and absorbed.
    kills : `int`
        Workers that were killed.
    """

    sent: int
    written: int
    dead: int
    lost: int
    twice: int
    redelivered: int
    kills: int


@dataclass
class Laboratory:
    """A deployment under load.

    Attributes
    ----------
    deployment : `Deployment`
        The topics and the repository.
    seed : `int`
        Decides what is left to chance.
    """

    deployment: Deployment
    seed: int = 1
    kills: int = 0
    valid: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    poisoned: set[tuple[int, int]] = field(default_factory=set)
    tally: Tally | None = None

    def __post_init__(self) -> None:
        self.deployment.settings.update(SHORTENED | self.deployment.settings)
        self.night = Night(self.deployment.root, seed=self.seed)
        self.rng = random.Random(self.seed)
        self.workers: list[Worker] = []
        self._stack = ExitStack()
        self._numbers = count()

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def start(self, workers: int = 1, /, **environment: str) -> list[Worker]:
        """Start workers, and wait until they are ready."""
        started = [
            self._stack.enter_context(self.deployment.worker(**environment)) for _ in range(workers)
        ]
        for worker in started:
            worker.wait_ready(120)
        self.workers += started
        return started

    def kill(self, worker: Worker) -> None:
        """End a worker with SIGKILL."""
        worker.kill()
        self.kills += 1

    def send(self, events: int = 1, *, poison: float = 0.0) -> None:
        """Send the next events of the night, some of them spoiled."""
        for number in (next(self._numbers) for _ in range(events)):
            event = self.night.event(1 + number // DETECTORS, number % DETECTORS)
            partition = number % self.deployment.partitions
            if self.rng.random() < poison:
                value = spoil(event, self.rng)
                self.poisoned.add(self._produce(value, partition))
            else:
                self.valid[self._produce(encode(event), partition)] = event

    def send_value(self, value: bytes, event: dict[str, Any] | None) -> None:
        """Send a message of one's own: a valid event, or none at all."""
        place = self._produce(value, 0)
        if event is None:
            self.poisoned.add(place)
        else:
            self.valid[place] = event

    def _produce(self, value: bytes, partition: int) -> tuple[int, int]:
        return self.deployment.cluster.produce(self.deployment.topic, value, partition=partition)

    @contextmanager
    def load(self, *, rate: float = 40.0, poison: float = 0.0) -> Iterator[None]:
        """Send events at a rate (events/s) until the block ends."""
        over = threading.Event()

        def send() -> None:
            while not over.wait(1 / rate):
                self.send(poison=poison)

        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send)
            try:
                yield
            finally:
                over.set()
            sending.result()

    def busy(self, workers: list[Worker]) -> list[Worker]:
        """Return the workers that read a partition."""
        return [
            worker
            for worker in workers
            if worker.process.returncode is None and partitions_of(worker)
        ]

    def make_books(self, timeout: float = 120) -> Tally:
        """Wait until every message is finished, and compare what was sent with what there is."""
        self.deployment.wait_done(timeout)
        self.tally = self._tally()
        return self.tally

    def _tally(self) -> Tally:
        deployment = self.deployment
        butler = deployment.fresh_butler()
        found = Counter(stored_ids(butler))
        presence = look_up(butler, found)
        dead = {
            (int(headers["partition"]), int(headers["offset"]))
            for headers in map(dict, (message.headers for message in deployment.dead_letters()))
        }
        announced = Counter(map(UUID, deployment.announced_ids()))
        written = {
            place for place, event in self.valid.items() if dataset_ids(event) <= presence.readable
        }
        sent = self.valid.keys() | self.poisoned
        expected = set().union(*(dataset_ids(event) for event in self.valid.values()))
        tally = Tally(
            sent=len(sent),
            written=len(written),
            dead=len(dead),
            lost=len(sent - written - dead),
            twice=sum(found.values()) - len(found) + len(found.keys() - expected),
            redelivered=sum(times - 1 for times in announced.values()) // len(DATASET_TYPES),
            kills=self.kills,
        )
        assert tally.lost == 0, f"{tally}: lost {sorted(sent - written - dead)[:5]}"
        assert tally.twice == 0, tally
        assert dead == self.poisoned, tally
        assert set(announced) == set(found), "announced is what is in the Butler"
        ends = deployment.cluster.end_offsets(deployment.topic)
        committed = deployment.cluster.committed(deployment.group, deployment.topic)
        assert {partition: max(committed.get(partition, 0), 0) for partition in ends} == ends
        children = butler.collections.get_info(CHAIN).children if self.valid else ()
        assert tuple(children) == ((RUN,) if self.valid else ())
        return tally
