"""From a pod's send to the commit, through Apache Kafka, real workers and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar
from uuid import UUID

from app.butler.repository.chains import ChainKeeper
from bench.measuring import alternate, median_ratio, quantile, spread
from bench.repositories import FEWER_DATASETS, MOST_DATASETS, Repositories
from bench.result import Result, Table
from bench.service import Message, Run, Service
from bench.workload import Workload, datasets_of
from simulator.camera import DETECTORS
from simulator.check import check
from simulator.event import encode_event, event_of
from simulator.night import Output, Pod
from testbed.cluster import Cluster
from testbed.kafka import ApacheKafka
from testbed.peer import PeerWriter
from testbed.tables import Tables, check_same

__all__ = ["Load", "run", "start", "start_all"]

K = TypeVar("K")

_ROUNDS = 3
_STARTED_AT_ONCE = 2
_WARM_UP = 40


@dataclass
class Load:
    """Visits of a night that are sent to a service.

    Attributes
    ----------
    service : `Service`
        The service.
    workload : `Workload`
        The night.
    runs : `list` [`Run`]
        The result of each load.
    sent : `dict` [`uuid.UUID`, `Output`]
        Datasets that were sent.
    values : `list` [`bytes`]
        The events with these datasets.
    visit : `int`
        Number of the next visit.
    """

    service: Service
    workload: Workload
    runs: list[Run] = field(default_factory=list)
    sent: dict[UUID, Output] = field(default_factory=dict)
    values: list[bytes] = field(default_factory=list)
    visit: int = 1

    def burst(self, number: int) -> Run:
        """Send a number of events of new visits, all at once."""
        pods = self.workload.pods(self.visit, number)
        self.visit += 1 + number // len(DETECTORS)
        return self.send([(0.0, pod) for pod in pods])

    def send(self, pods: list[tuple[float, Pod]]) -> Run:
        """Send the events of some pods, each when it is due."""
        messages = []
        for due, pod in pods:
            self.workload.place_artifacts(pod)
            value = encode_event(event_of(pod))
            messages.append(Message(value, due, pod.outputs[-1].ref.id, pod.visit.id))
            self.sent.update((output.ref.id, output) for output in pod.outputs)
        self.values += [message.value for message in messages]
        self.runs.append(self.service.run(messages))
        return self.runs[-1]

    def verify(
        self, repositories: Repositories, *, quick: bool, expected: Tables | None = None
    ) -> Tables | None:
        """Check that all sent datasets are there once; in thorough runs, compare all tables.

        Parameters
        ----------
        repositories : `Repositories`
            Where the public method writes a repository to compare with.
        quick : `bool`
            Whether the run is quick.
        expected : `Tables`, optional
            What the public method writes for the same events, if it is known.

        Returns
        -------
        expected : `Tables` or `None`
            What the public method writes.
        """
        repository = self.service.repository
        verdict = check(repository.config, self.workload.night, self.sent)
        assert (verdict.missing, verdict.twice, verdict.lost_runs) == (0, 0, []), verdict
        if quick:
            return None
        expected = expected or self._written_plainly(repositories)
        check_same(repository.tables(), expected)
        return expected

    def _written_plainly(self, repositories: Repositories) -> Tables:
        night = self.workload.night
        with repositories.copy() as plain, plain.plain_butler() as butler:
            peer = PeerWriter(butler)
            for first in range(0, len(self.values), len(DETECTORS)):
                peer.write(self.values[first : first + len(DETECTORS)])
            ChainKeeper(butler).ensure([(night.chain, run) for run in night.runs])
            return plain.tables()


def run(*, quick: bool) -> Result:
    """Measure bursts, sustained loads, and latency at the design load."""
    result = Result("end_to_end")
    with Repositories() as repositories, ApacheKafka() as kafka:
        _bursts(repositories, kafka, result, quick=quick)
        _sustained(repositories, kafka, result, quick=quick)
        if not quick:
            _latencies(repositories, kafka, result)
    return result


def start(
    stack: ExitStack,
    repositories: Repositories,
    kafka: Cluster,
    datasets: int,
    *,
    workers: int = 1,
    partitions: int | None = None,
    by_visit: bool = False,
    cadence: float = 34.0,
    window_seconds: float | None = None,
    window_events: int | None = None,
    lanes: int | None = None,
    port: int | None = None,
    session_timeout: int | None = None,
) -> Load:
    """Start workers and let each write a window first; its size does not depend on their number.

    They use the database at a port, by default its own one.
    """
    settings = {
        "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": session_timeout,
        "BUTLER_WRITER_WINDOW_SECONDS": window_seconds,
        "BUTLER_WRITER_WINDOW_EVENTS": window_events,
        "BUTLER_WRITER_LANES": lanes,
    }
    service = Service(
        kafka,
        stack.enter_context(repositories.copy(port=port)),
        Path(repositories.root.parent),
        workers=workers,
        partitions=partitions,
        by_visit=by_visit,
        settings={name: str(value) for name, value in settings.items() if value},
    )
    load = Load(stack.enter_context(service), repositories.workload(datasets, cadence))
    load.burst(_WARM_UP)
    load.runs.clear()
    return load


def start_all(starts: Mapping[K, Callable[[], Load]]) -> dict[K, Load]:
    """Start several services, a few at once."""
    with ThreadPoolExecutor(_STARTED_AT_ONCE) as pool:
        started = {key: pool.submit(call) for key, call in starts.items()}
    return {key: load.result() for key, load in started.items()}


def _bursts(repositories: Repositories, kafka: Cluster, result: Result, *, quick: bool) -> None:
    """Measure one worker with all events of a visit at once."""
    with ExitStack() as stack:
        load = start(stack, repositories, kafka, FEWER_DATASETS if quick else MOST_DATASETS)
        for _ in range(_ROUNDS if quick else 2 * _ROUNDS):
            load.burst(len(DETECTORS))
        load.verify(repositories, quick=quick)
    seconds = [run.seconds for run in load.runs]
    firsts = [min(run.latencies) for run in load.runs]
    table = Table(["a visit at once, one worker", "seconds"])
    table.add("until its first event is in the Butler", spread(firsts))
    table.add("until its last event is in the Butler", spread(seconds))
    result.tables.append(table)
    result.raw["burst of 189"] = [vars(run) for run in load.runs]
    result.figures["burst_189_s"] = median(seconds)


def _sustained(repositories: Repositories, kafka: Cluster, result: Result, *, quick: bool) -> None:
    """Measure one and several workers with more events at once than fit into a window."""
    columns = [
        "workers",
        "partitions",
        "events of a visit in",
        "datasets per event",
        "events/s",
        "datasets/s",
    ]
    table = Table([*columns, "CPU per event (ms)", "CPU idle", "peak RSS (MiB)"])
    one, two = kinds = [(1, 1, False), (2, 2, False)]
    if not quick:
        kinds += [(2, 2, True), (4, 4, False), (4, 4, True), (1, 16, False)]
    for datasets, visits in [(20, 3)] if quick else [(20, 8), (MOST_DATASETS, 3)]:
        number = visits * len(DETECTORS)
        expected = None
        with ExitStack() as stack:
            loads = start_all(
                {
                    (workers, partitions, by_visit): partial(
                        start,
                        stack,
                        repositories,
                        kafka,
                        datasets,
                        workers=workers,
                        partitions=partitions,
                        by_visit=by_visit,
                    )
                    for workers, partitions, by_visit in kinds
                }
            )
            seconds = alternate(
                {
                    str(kind): partial(_seconds_of_burst, load, number)
                    for kind, load in loads.items()
                },
                _ROUNDS,
            )
            for kind, load in loads.items():
                rates = [number / value for value in seconds[str(kind)]]
                workers, partitions, by_visit = kind
                table.add(
                    workers,
                    partitions,
                    "one" if by_visit or partitions == 1 else "all",
                    datasets,
                    spread(rates),
                    f"{datasets_of(load.values) / len(load.values) * median(rates):.0f}",
                    f"{1000 * median(run.cpu for run in load.runs) / number:.1f}",
                    f"{median(run.idle for run in load.runs):.0%}",
                    f"{load.service.peak_memory / 2**20:.0f}",
                )
                name = f"{workers} workers, {partitions} partitions, {datasets} datasets"
                name += ", by visit" if by_visit else ""
                result.raw[name] = [vars(run) for run in load.runs]
                expected = load.verify(repositories, quick=quick, expected=expected)
            result.figures["workers_2_vs_1"] = median_ratio(seconds[str(one)], seconds[str(two)])
            result.figures["workers_2_idle"] = median(run.idle for run in loads[two].runs)
    result.tables.append(table)


def _seconds_of_burst(load: Load, number: int) -> float:
    return load.burst(number).seconds


def _latencies(repositories: Repositories, kafka: Cluster, result: Result) -> None:
    """Measure visits at their normal rate, and ten times as fast."""
    table = Table(["load", "events", "p50 (s)", "p99 (s)", "maximum (s)", "CPU idle"])
    for name, cadence, visits in (("design", 38.0, 3), ("ten times the design", 3.8, 10)):
        with ExitStack() as stack:
            load = start(stack, repositories, kafka, MOST_DATASETS, cadence=cadence)
            run = load.send(load.workload.in_time(load.visit, visits * len(DETECTORS)))
            load.verify(repositories, quick=False)
        table.add(
            f"{name}: {len(DETECTORS) / cadence:.1f} events/s",
            len(run.latencies),
            f"{median(run.latencies):.2f}",
            f"{quantile(run.latencies, 0.99):.2f}",
            f"{max(run.latencies):.2f}",
            f"{run.idle:.0%}",
        )
        result.raw[f"latency at {name}"] = vars(run)
    result.tables.append(table)
