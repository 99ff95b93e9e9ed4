"""A service under load: Kafka, workers, and queries that observe the Butler's database."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Self
from uuid import UUID

import psutil
import psycopg
from confluent_kafka import Producer

from bench.repositories import Repository
from simulator.topics import make_topics
from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import Worker

__all__ = ["Message", "Progress", "Run", "Service", "peak_memory", "watch"]

#: Seconds between two queries: the resolution of latencies.  With more pending events than these
#: they are longer, since a query takes time of the machine, too.
_INTERVAL = 0.02
_CHEAP = 100

#: Seconds after which a load has failed.
_PATIENCE = 600.0

_numbers = count(1)


@dataclass(frozen=True)
class Message:
    """An event to send.

    Attributes
    ----------
    value : `bytes`
        The event.
    due : `float`
        When to send it, in seconds from the start.
    last : `uuid.UUID`
        Id of its last dataset.
    visit : `int`
        Its visit.
    """

    value: bytes
    due: float
    last: UUID
    visit: int


@dataclass(frozen=True)
class Progress:
    """How far a load has come.

    Attributes
    ----------
    events : `int`
        Number of events in the Butler.
    at : `float`
        The time, in seconds.
    idle, total : `float`
        Processor time of the machine, in seconds: what was idle, and all.
    """

    events: int
    at: float
    idle: float
    total: float

    @classmethod
    def now(cls, events: int) -> Self:
        """Take the times of the machine."""
        times = psutil.cpu_times()
        return cls(events, time.monotonic(), times.idle + times.iowait, sum(times))

    def idle_share(self, end: Progress) -> float:
        """Return the share of the machine's processor time that was idle from here to an end."""
        return max(0.0, end.idle - self.idle) / (end.total - self.total)


@dataclass
class Run:
    """The result of a load.

    Attributes
    ----------
    seconds : `float`
        From the first send until the last dataset was in the Butler.
    latencies : `list` [`float`]
        Seconds from each send to the commit, as seen from outside.
    cpu : `float`
        Processor time of the workers, in seconds.
    idle : `float`
        Share of the machine's processor time that was idle.
    wal_bytes : `int`
        Bytes that the database wrote to its log.
    message_bytes : `int`
        Bytes that were sent.
    progress : `list` [`Progress`]
        How many events were in the Butler, each time that some were found there.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    cpu: float = 0.0
    idle: float = 0.0
    wal_bytes: int = 0
    message_bytes: int = 0
    progress: list[Progress] = field(default_factory=list)

    @property
    def middle(self) -> tuple[Progress, Progress]:
        """From the first tenth of the events to four fifths of them.

        Several workers do not end at the same time; until then all of them have events.

        Raises
        ------
        ValueError
            If nearly all events were found at the same time.
        """
        events = self.progress[-1].events
        begin = next(each for each in self.progress if each.events >= events / 10)
        end = next(each for each in self.progress if each.events >= 4 * events / 5)
        if begin is end:
            raise ValueError("the load is too small to measure its middle")
        return begin, end


class Service:
    """Workers with a topic of their own.

    Parameters
    ----------
    kafka : `Cluster`
        The brokers.
    repository : `Repository`
        The repository that the workers write to.
    folder : `pathlib.Path`
        For dataset lists.
    workers : `int`
        Number of workers.
    partitions : `int`, optional
        Number of partitions of the topic; by default one per worker.
    by_visit : `bool`
        Whether a visit's events go to one partition; if not, they are spread evenly, as by pods.
    settings : `~collections.abc.Mapping` [`str`, `str`]
        Further environment variables of the workers.

    Attributes
    ----------
    name, topic : `str`
        The consumer group, and the topic.
    sent : `dict` [`uuid.UUID`, `float`]
        When each event of the last load was sent, by the id of its last dataset.
    """

    def __init__(
        self,
        kafka: Cluster,
        repository: Repository,
        folder: Path,
        *,
        workers: int = 1,
        partitions: int | None = None,
        by_visit: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.repository = repository
        self.name = f"load{next(_numbers)}"
        self.topic = f"{self.name}-pp-output"
        self.sent: dict[UUID, float] = {}
        self._kafka = kafka
        self._partitions = partitions or workers
        self._by_visit = by_visit
        self._announcements = f"{self.name}-batch-ingested"
        lists = folder / f"{self.name}-lists"
        lists.mkdir(parents=True)
        environment = {
            "BUTLER_REPOSITORY": str(repository.config),
            "KAFKA_CLUSTER": kafka.bootstrap,
            "KAFKA_TOPIC": self.topic,
            "KAFKA_OUTPUT_TOPIC": self._announcements,
            "OUTPUT_DATASET_LIST_DIRECTORY": str(lists),
            "BUTLER_WRITER_KAFKA_GROUP": self.name,
            **(settings or {}),
        }
        self.workers = [Worker(environment) for _ in range(workers)]

    def __enter__(self) -> Self:
        make_topics(
            self._kafka,
            events=self.topic,
            announcements=self._announcements,
            partitions=self._partitions,
        )
        with ExitStack() as stack:
            for worker in self.workers:
                stack.enter_context(worker)
            for worker in self.workers:
                worker.wait_ready(120)
            wait_until(
                lambda: all(worker.partitions() for worker in self.workers),
                60,
                "a partition for each worker",
            )
            self._parts = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._parts.close()

    def run(self, messages: Sequence[Message]) -> Run:
        """Send events when they are due, and wait until all of them are in the Butler."""
        run = Run(message_bytes=sum(len(message.value) for message in messages))
        self.sent.clear()
        over = Event()
        watching = Thread(target=self._watch, args=(len(messages), over, run), daemon=True)
        cpu, wal, begin = self._cpu(), self.repository.wal(), Progress.now(0)
        watching.start()
        self._send(messages, begin.at)
        if not over.wait(_PATIENCE):
            raise TimeoutError(
                f"{len(run.latencies)} of {len(messages)} events are in the Butler:\n"
                f"{self.workers[0].process.log_tail()}"
            )
        end = Progress.now(len(messages))
        run.seconds = end.at - begin.at
        run.cpu = self._cpu() - cpu
        run.wal_bytes = self.repository.wal() - wal
        run.idle = begin.idle_share(end)
        return run

    def wait_acked(self) -> None:
        """Wait until all events are acknowledged: what the service says of them is sent."""
        end = sum(self._kafka.end_offsets(self.topic).values())
        wait_until(
            lambda: sum(self._kafka.committed(self.name, self.topic).values()) >= end,
            _PATIENCE,
            lambda: f"{end} acknowledged events",
        )

    def _send(self, messages: Sequence[Message], begin: float) -> None:
        producer = Producer(
            {**self._kafka.client_config, "message.max.bytes": 12 * 2**20, "linger.ms": 0}
        )
        for number, message in enumerate(messages):
            if (wait := begin + message.due - time.monotonic()) > 0:
                producer.poll(0)
                time.sleep(wait)
            self.sent[message.last] = time.monotonic()
            partition = (message.visit if self._by_visit else number) % self._partitions
            producer.produce(self.topic, value=message.value, partition=partition)
        producer.flush(60)

    def _watch(self, number: int, over: Event, run: Run) -> None:
        watch(self.repository.connect, number, self.sent, run)
        over.set()

    def _cpu(self) -> float:
        times = [psutil.Process(worker.process.pid).cpu_times() for worker in self.workers]
        return float(sum(t.user + t.system for t in times))

    @property
    def peak_memory(self) -> int:
        """The highest resident memory of a worker, in bytes."""
        return max(peak_memory(worker) for worker in self.workers)


def peak_memory(worker: Worker) -> int:
    """Return the highest resident memory of a worker, in bytes."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


def watch(
    connect: Callable[[], psycopg.Connection[tuple[object, ...]]],
    number: int,
    sent: Mapping[UUID, float],
    run: Run,
) -> None:
    """Wait for the last dataset of each event to be committed to a database, and note the time.

    Parameters
    ----------
    connect : `~collections.abc.Callable`
        Connects to the database, in autocommit mode.
    number : `int`
        Number of events.
    sent : `~collections.abc.Mapping` [`uuid.UUID`, `float`]
        When each event was sent so far, by the id of its last dataset.
    run : `Run`
        Gets the latencies and the progress.
    """
    found: set[UUID] = set()
    with connect() as connection:
        while len(found) < number:
            time.sleep(_INTERVAL * max(1.0, (len(sent) - len(found)) / _CHEAP))
            pending = [dataset for dataset in list(sent) if dataset not in found]
            rows = connection.execute(
                "SELECT id FROM dataset WHERE id = ANY(%s)", (pending,)
            ).fetchall()
            now = time.monotonic()
            for (dataset,) in rows:
                assert isinstance(dataset, UUID)
                found.add(dataset)
                run.latencies.append(now - sent[dataset])
            if rows:
                run.progress.append(Progress.now(len(found)))
