"""The demo: a night is written by real workers, observed, and then checked."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeAlias
from uuid import UUID

from rich.console import Console

from butler_writer_client import Mode
from simulator.check import check
from simulator.downstream import Downstream, ending_now
from simulator.night import Night, Output, Pod
from simulator.observer import Observer
from simulator.outcome import Outcome
from simulator.progress import pod_bars
from simulator.repository import make_empty_repository, make_repository
from simulator.room import check_room
from simulator.sending import Sender
from simulator.topics import make_topics
from simulator.transactions import CountsTransactions, PostgresTransactions, SqliteTransactions
from simulator.watch import DemoError, Watch
from testbed.cluster import Cluster
from testbed.embedded import EmbeddedBroker
from testbed.kafka import ApacheKafka
from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until
from testbed.worker import Worker

__all__ = ["Demo"]

Update: TypeAlias = Callable[[], None]

TOPIC = "pp-output"
_ANNOUNCEMENTS = "batch-ingested"
_DEAD_LETTERS = f"{TOPIC}-dead-letters"
_GROUP = "butler-writer"
_DOWNSTREAM_WORKER = "downstream worker"

#: Seconds after which a worker that is not ready is given up.
_START_TIMEOUT = 60.0
#: Seconds without any progress after which the demo gives up.
_PATIENCE = 60.0
#: Seconds after which a pod gives up: the end of a demo without a broker waits for it.
_SEND_TIMEOUT = 15.0
#: Seconds between two progress checks.
_INTERVAL = 0.2


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
    with_downstream : `bool`
        Whether a second repository is filled too, behind an embargo.
    console : `rich.console.Console`
        Where progress is shown.
    sent : `dict` [`uuid.UUID`, `Output`]
        The datasets of the valid events that were sent.
    running : `list` [`Worker`]
        The workers.
    downstream : `Downstream` or `None`
        The second repository, and its worker.
    watch : `Watch`
        Notices that one of the servers or workers has ended.
    cluster : `Cluster`
        The broker.
    environment : `dict` [`str`, `str`]
        The workers' configuration.
    """

    night: Night
    workers: int = 1
    apache_kafka: bool = False
    postgresql: bool = False
    mode: Mode = Mode.FINAL
    duplicates: float = 0.0
    spoiled: float = 0.0
    with_downstream: bool = False
    console: Console = field(default_factory=Console)
    sent: dict[UUID, Output] = field(default_factory=dict)
    running: list[Worker] = field(default_factory=list)
    downstream: Downstream | None = None
    watch: Watch = field(default_factory=Watch)

    def __enter__(self) -> Self:
        with ExitStack() as stack, self.console.status("starting broker, repository and workers"):
            check_room(self.night, repositories=2 if self.with_downstream else 1)
            folder = tempfile.TemporaryDirectory(
                prefix="butler-writer-demo-", ignore_cleanup_errors=True
            )
            self.folder = Path(stack.enter_context(folder))
            self.root = self.folder / "repository"
            self.staging = self.folder / "staging"
            self.staging.mkdir()
            self._start_broker(stack)
            self._transactions = self._make_repository(stack)
            self._start_workers(stack)
            if self.with_downstream:
                self._start_downstream(stack)
            self._observer = stack.enter_context(Observer(self.root))
            self._sender = Sender(
                self.night,
                self.cluster,
                TOPIC,
                self.root,
                str(self.staging) if self.mode is Mode.STAGING else None,
                duplicates=self.duplicates,
                spoiled=self.spoiled,
                on_sent=self._note,
                timeout=_SEND_TIMEOUT,
            )
            self._parts = stack.pop_all()
        self._transactions.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._parts.close()

    def _start_broker(self, stack: ExitStack) -> None:
        broker = ApacheKafka() if self.apache_kafka else EmbeddedBroker()
        self.cluster: Cluster = broker
        stack.enter_context(broker)
        self.watch.add("broker", broker)

    def _make_repository(self, stack: ExitStack) -> CountsTransactions:
        if not self.postgresql:
            make_repository(self.root)
            return SqliteTransactions(self.root)
        server = self._start_postgresql(stack, "PostgreSQL")
        make_repository(self.root, server.create_database("butler"))
        return PostgresTransactions(server)

    def _start_postgresql(self, stack: ExitStack, name: str) -> PostgreSQL:
        server = PostgreSQL({"autovacuum": "off"})
        stack.enter_context(server)
        self.watch.add(name, server)
        return server

    def _start_workers(self, stack: ExitStack) -> None:
        make_topics(
            self.cluster, events=TOPIC, announcements=_ANNOUNCEMENTS, partitions=self.workers
        )
        lists = self.folder / "lists"
        lists.mkdir()
        self.environment = {
            "BUTLER_REPOSITORY": str(self.root),
            "KAFKA_CLUSTER": self.cluster.bootstrap,
            "KAFKA_TOPIC": TOPIC,
            "KAFKA_OUTPUT_TOPIC": _ANNOUNCEMENTS,
            "OUTPUT_DATASET_LIST_DIRECTORY": str(lists),
            "BUTLER_WRITER_STAGING_ROOTS": str(self.staging),
            "BUTLER_WRITER_WEB_HOST": "127.0.0.1",  # the host's name may not be known
            # With the embedded broker, the first member of a group waits for half of the timeout.
            "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "8",
        }
        self.running = []
        for number in range(1, self.workers + 1):
            self.running.append(Worker(self.environment))
            stack.enter_context(self.running[-1])
            self.watch.add(f"worker {number}", self.running[-1])
        for number, worker in enumerate(self.running, 1):
            self._wait_ready(f"worker {number}", worker)

    def _start_downstream(self, stack: ExitStack) -> None:
        """Start the worker of the second repository, once the others have made the product log."""
        root, database = self.folder / "public", None
        if self.postgresql:  # a server of its own, since the other one counts its transactions
            server = self._start_postgresql(stack, "the downstream PostgreSQL")
            database = server.create_database("butler")
        make_empty_repository(root, database)
        self.downstream = Downstream(root, self.root, self.environment)
        stack.enter_context(self.downstream.worker)
        self.watch.add(_DOWNSTREAM_WORKER, self.downstream.worker)
        self._wait_ready(_DOWNSTREAM_WORKER, self.downstream.worker)
        stack.enter_context(self.downstream)
        self.night = ending_now(self.night)

    def _wait_ready(self, name: str, worker: Worker) -> None:
        def ready() -> bool:
            self.watch.check()
            return worker.status("/readyz") == 200

        try:
            wait_until(ready, _START_TIMEOUT, "", _INTERVAL)
        except TimeoutError:
            problem = f"is not ready after {_START_TIMEOUT:g} s"
            raise DemoError(self.watch.describe(name, problem)) from None

    def run(self) -> None:
        """Simulate the night, and wait until the workers have written it.

        Raises
        ------
        DemoError
            If a server or worker has ended, or there is no progress any more.
        """
        with self._progress() as update:
            self._sender.run(update)
            self._wait(update)
            if self.downstream is not None:
                try:
                    self.downstream.wait(update, _PATIENCE)
                except TimeoutError as exc:
                    problem = self.watch.describe(_DOWNSTREAM_WORKER, str(exc))
                    raise DemoError(problem) from None

    def _note(self, pod: Pod) -> None:
        """Start to wait for the datasets that a pod has just sent."""
        self._observer.expect(pod.outputs[0].ref.id)
        self.sent.update((output.ref.id, output) for output in pod.outputs)
        if self.downstream is not None:
            self.downstream.expect(pod)

    def _wait(self, update: Update) -> None:
        finished, since = -1, time.monotonic()
        # In a thread, since the broker may be slow to answer.
        with ThreadPoolExecutor(1) as asking:
            while finished < self._sender.messages or self._observer.pending:
                answer = asking.submit(self.cluster.committed, _GROUP, TOPIC)
                while not wait([answer], _INTERVAL).done:
                    update()
                committed = sum(answer.result().values())
                if committed > finished:
                    finished, since = committed, time.monotonic()
                elif time.monotonic() - since > _PATIENCE:
                    problem = (
                        f"has made no progress for {_PATIENCE:g} s: {finished} of "
                        f"{self._sender.messages} events are finished, and "
                        f"{self._observer.pending} are not in the Butler"
                    )
                    raise DemoError(self.watch.describe("worker 1", problem))
                time.sleep(_INTERVAL)
                update()

    @contextmanager
    def _progress(self) -> Iterator[Update]:
        """Show the progress; each update also checks that servers and workers are running."""
        total = self.night.visits * self.night.detectors
        with pod_bars(self.console) as progress:
            sent = progress.add_task("pods have sent", total=total)
            found = progress.add_task("found in the Butler", total=total)
            downstream = self.downstream
            released = progress.add_task(
                "found downstream", total=total, visible=downstream is not None
            )

            def update() -> None:
                progress.update(sent, completed=self._sender.events)
                progress.update(found, completed=len(self._observer.latencies))
                if downstream is not None:
                    progress.update(released, completed=downstream.complete_pods)
                self.watch.check()

            yield update
            update()

    def finish(self) -> Outcome:
        """Check the Butler and the announcements."""
        with self.console.status("asking the Butler for every dataset"):
            transactions = self._transactions.count()
            return Outcome(
                events=self._sender.events,
                duplicates=self._sender.duplicate_events,
                spoiled=self._sender.spoiled_events,
                windows=len(self.cluster.consume(_ANNOUNCEMENTS)),
                dead_letters=len(self.cluster.consume(_DEAD_LETTERS)),
                transactions=transactions,
                datasets=len(self.sent),
                staged=sum(path.is_file() for path in self.staging.rglob("*")),
                verdict=check(self.root, self.night, self.sent),
                p50=self._observer.latency(0.5),
                p99=self._observer.latency(0.99),
                downstream=(
                    None if self.downstream is None else self.downstream.outcome(self.night)
                ),
            )
