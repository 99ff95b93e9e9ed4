"""The demo: a night is written by real workers, observed, and then checked."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeAlias
from uuid import UUID

from rich.console import Console

from butler_writer_client import Mode
from simulator.check import Verdict, check
from simulator.night import Night, Output, Pod
from simulator.observer import Observer
from simulator.progress import pod_bars
from simulator.repository import make_repository
from simulator.sending import Sender
from simulator.topics import make_topics
from simulator.transactions import CountsTransactions, PostgresTransactions, SqliteTransactions
from testbed.cluster import Cluster
from testbed.embedded import EmbeddedBroker
from testbed.kafka import ApacheKafka
from testbed.postgresql import PostgreSQL
from testbed.worker import Worker

__all__ = ["Demo", "DemoError", "Outcome"]

Update: TypeAlias = Callable[[], None]

_TOPIC = "pp-output"
_ANNOUNCEMENTS = "batch-ingested"
_DEAD_LETTERS = f"{_TOPIC}-dead-letters"
_GROUP = "butler-writer"

#: Seconds without any progress after which the demo gives up.
_PATIENCE = 60.0
#: Seconds between two progress checks.
_INTERVAL = 0.2


class DemoError(Exception):
    """The demo cannot continue; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """The result of the demo.

    Attributes
    ----------
    events, spoiled : `int`
        Number of pods that sent a valid event, and of spoiled events.
    windows, dead_letters : `int`
        Number of windows that were announced, and of events that were set aside.
    transactions : `int`
        Number of transactions that wrote to the database, as the database counts them.
    datasets : `int`
        Number of datasets in the valid events.
    staged : `int`
        Number of their files that are still in the staging area.
    verdict : `Verdict`
        What the Butler contains of them.
    p50, p99 : `float`
        Seconds from the end of a send until a query finds a dataset of the event in the Butler.
    """

    events: int
    spoiled: int
    windows: int
    dead_letters: int
    transactions: int
    datasets: int
    staged: int
    verdict: Verdict
    p50: float
    p99: float

    @property
    def complaints(self) -> list[str]:
        """What is wrong, one sentence each."""
        said = self.verdict.complaints
        if self.dead_letters != self.spoiled:
            said.append(f"{self.dead_letters} dead letters for {self.spoiled} spoiled events")
        if self.staged:
            said.append(f"{self.staged} files are still in the staging area")
        return said

    @property
    def line(self) -> str:
        """The last line of the output."""
        return (
            f"demo: events={self.events} windows={self.windows} datasets={self.datasets} "
            f"missing={self.verdict.missing} twice={self.verdict.twice} "
            f"transactions={self.transactions} p50_s={self.p50:.2f} p99_s={self.p99:.2f}"
        )


@dataclass
class Demo:
    """A night, and the servers and workers that write it; a context manager.

    Attributes
    ----------
    night : `Night`
        The night.
    workers : `int`
        Number of workers.
    apache_kafka, postgresql : `bool`
        Whether to use the real servers instead of the embedded broker and SQLite.
    mode : `Mode`
        Where pods store their artifacts.
    duplicates, spoiled : `float`
        Fractions of events that are sent twice, and that are followed by a spoiled event.
    console : `rich.console.Console`
        Where progress is shown.
    sent : `dict` [`uuid.UUID`, `Output`]
        The datasets of the valid events that were sent.
    running : `list` [`Worker`]
        The workers.
    """

    night: Night
    workers: int = 1
    apache_kafka: bool = False
    postgresql: bool = False
    mode: Mode = Mode.FINAL
    duplicates: float = 0.0
    spoiled: float = 0.0
    console: Console = field(default_factory=Console)
    sent: dict[UUID, Output] = field(default_factory=dict)
    running: list[Worker] = field(default_factory=list)

    def __enter__(self) -> Self:
        with ExitStack() as stack, self.console.status("starting broker, repository and workers"):
            folder = tempfile.TemporaryDirectory(prefix="butler-writer-demo-")
            self.folder = Path(stack.enter_context(folder))
            self.root = self.folder / "repository"
            self.staging = self.folder / "staging"
            self.staging.mkdir()
            cluster = ApacheKafka() if self.apache_kafka else EmbeddedBroker()
            self._cluster: Cluster = stack.enter_context(cluster)
            self._transactions = self._make_repository(stack)
            self._start_workers(stack)
            self._observer = stack.enter_context(Observer(self.root))
            self._sender = Sender(
                self.night,
                self._cluster,
                _TOPIC,
                self.root,
                str(self.staging) if self.mode is Mode.STAGING else None,
                duplicates=self.duplicates,
                spoiled=self.spoiled,
                on_sent=self._note,
            )
            self._parts = stack.pop_all()
        self._transactions.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._parts.close()

    def _make_repository(self, stack: ExitStack) -> CountsTransactions:
        if not self.postgresql:
            make_repository(self.root)
            return SqliteTransactions(self.root)
        server = stack.enter_context(PostgreSQL({"autovacuum": "off"}))
        make_repository(self.root, server.create_database("butler"))
        return PostgresTransactions(server)

    def _start_workers(self, stack: ExitStack) -> None:
        make_topics(
            self._cluster, events=_TOPIC, announcements=_ANNOUNCEMENTS, partitions=self.workers
        )
        lists = self.folder / "lists"
        lists.mkdir()
        environment = {
            "BUTLER_REPOSITORY": str(self.root),
            "KAFKA_CLUSTER": self._cluster.bootstrap,
            "KAFKA_TOPIC": _TOPIC,
            "KAFKA_OUTPUT_TOPIC": _ANNOUNCEMENTS,
            "OUTPUT_DATASET_LIST_DIRECTORY": str(lists),
            "BUTLER_WRITER_STAGING_ROOTS": str(self.staging),
            # With the embedded broker, the first member of a group waits for half of the timeout.
            "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "8",
        }
        self.running = [stack.enter_context(Worker(environment)) for _ in range(self.workers)]
        for worker in self.running:
            worker.wait_ready()

    def run(self) -> None:
        """Simulate the night, and wait until the workers have written it.

        Raises
        ------
        DemoError
            If a worker has ended, or there is no progress any more.
        """
        with self._progress() as update:
            self._sender.run(update)
            self._wait(update)

    def _note(self, pod: Pod) -> None:
        """Start to wait for the datasets that a pod has just sent."""
        self._observer.expect(pod.outputs[0].ref.id)
        self.sent.update((output.ref.id, output) for output in pod.outputs)

    def _wait(self, update: Update) -> None:
        finished, since = -1, time.monotonic()
        while finished < self._sender.messages or self._observer.pending:
            time.sleep(_INTERVAL)
            update()
            committed = sum(self._cluster.committed(_GROUP, _TOPIC).values())
            if committed > finished:
                finished, since = committed, time.monotonic()
            elif time.monotonic() - since > _PATIENCE:
                raise DemoError(
                    f"{finished} of {self._sender.messages} events are finished, "
                    f"{self._observer.pending} are not in the Butler, and there is no progress:\n"
                    f"{self.running[0].process.log_tail()}"
                )

    def _check_workers(self) -> None:
        for worker in self.running:
            if (code := worker.process.returncode) is not None:
                raise DemoError(
                    f"a worker is not running (exit code {code}):\n{worker.process.log_tail()}"
                )

    @contextmanager
    def _progress(self) -> Iterator[Update]:
        """Show the progress; each update also checks that the workers are running."""
        total = self.night.visits * self.night.detectors
        with pod_bars(self.console) as progress:
            sent = progress.add_task("pods have sent", total=total)
            found = progress.add_task("found in the Butler", total=total)

            def update() -> None:
                progress.update(sent, completed=self._sender.events)
                progress.update(found, completed=len(self._observer.latencies))
                self._check_workers()

            yield update
            update()

    def finish(self) -> Outcome:
        """Check the Butler and the announcements."""
        with self.console.status("asking the Butler for every dataset"):
            transactions = self._transactions.count()
            return Outcome(
                events=self._sender.events,
                spoiled=self._sender.spoiled_events,
                windows=len(self._cluster.consume(_ANNOUNCEMENTS)),
                dead_letters=len(self._cluster.consume(_DEAD_LETTERS)),
                transactions=transactions,
                datasets=len(self.sent),
                staged=sum(path.is_file() for path in self.staging.rglob("*")),
                verdict=check(self.root, self.night, self.sent),
                p50=self._observer.latency(0.5),
                p99=self._observer.latency(0.99),
            )
