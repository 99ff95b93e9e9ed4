"""Compares pods that write into the database with pods that send an event.

It measures the cost for the database, and how long a pod is blocked.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from lsst.daf.butler import Butler

from app.butler.repository.chains import ChainKeeper
from app.butler.writer import ButlerWriter
from bench.comparisons.write_path import write_ours
from bench.database_side import COLUMNS, Cost, observe
from bench.measuring import quantile
from bench.repositories import MOST_DATASETS, POLICY, Repositories, Repository
from bench.result import Result, Table
from bench.workload import Workload
from testbed.cluster import Cluster
from testbed.kafka import ApacheKafka
from testbed.peer import PeerWriter
from testbed.tables import Tables, check_same

__all__ = ["run"]

_TOPIC = "pp-output"

#: A forked child has all modules loaded; it opens its own connections.
_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class _Task:
    """What a pod does with an event: write it, or send it."""

    event: bytes
    send: bool = False


def _pod(config: Path, bootstrap: str, pairs: list[tuple[str, str]], orders: Connection) -> None:
    """Run as a pod: execute each order, and return the seconds that it took."""
    butler = Butler.from_config(str(config), writeable=True)
    writer, chains, cluster = PeerWriter(butler), ChainKeeper(butler), Cluster(bootstrap)
    orders.send(0.0)
    while (task := orders.recv()) is not None:
        started = time.perf_counter()
        if task.send:
            cluster.produce(_TOPIC, task.event)
        else:
            writer.write([task.event])
            chains.ensure(pairs)
        orders.send(time.perf_counter() - started)


class Pods:
    """Pods, each a process with its own Butler.

    Parameters
    ----------
    number : `int`
        Number of pods.
    """

    def __init__(
        self, number: int, repository: Repository, bootstrap: str, pairs: list[tuple[str, str]]
    ) -> None:
        self._orders = []
        self._processes = []
        for _ in range(number):
            here, there = _fork.Pipe()
            process = _fork.Process(
                target=_pod, args=(repository.config, bootstrap, pairs, there), daemon=True
            )
            process.start()
            self._orders.append(here)
            self._processes.append(process)
        for orders in self._orders:
            orders.recv()

    def __len__(self) -> int:
        return len(self._orders)

    def do(self, events: Sequence[bytes], *, send: bool = False) -> list[float]:
        """Make all pods write or send an event at once; return the seconds that each took.

        If there are more events than pods, there are several rounds.
        """
        seconds: list[float] = []
        for first in range(0, len(events), len(self)):
            busy = list(zip(self._orders, events[first : first + len(self)], strict=False))
            for orders, event in busy:
                orders.send(_Task(event, send))
            seconds += [orders.recv() for orders, _ in busy]
        return seconds

    def close(self) -> None:
        """End the pods."""
        for orders in self._orders:
            orders.send(None)
        for process in self._processes:
            process.join()


@contextmanager
def _pods(
    number: int, repository: Repository, bootstrap: str, pairs: list[tuple[str, str]]
) -> Iterator[Pods]:
    pods = Pods(number, repository, bootstrap, pairs)
    try:
        yield pods
    finally:
        pods.close()


class _Comparison:
    def __init__(
        self, repositories: Repositories, kafka: Cluster, workload: Workload, number: int
    ) -> None:
        self._repositories = repositories
        self._kafka = kafka
        night = workload.night
        self._pairs = [(night.chain, run) for run in night.runs]
        self._warm_up = repositories.workload(20).events(1, 32)
        self._events = workload.events(2, number)
        self._expected: Tables | None = None

    def direct(self, number: int) -> tuple[Cost, list[float], list[float]]:
        """Measure pods that write, then pods that send: the cost, and how long they are blocked."""
        with (
            self._repositories.copy() as repository,
            _pods(number, repository, self._kafka.bootstrap, self._pairs) as pods,
        ):
            pods.do(self._warm_up[:1])
            pods.do(self._warm_up)
            with observe(self._repositories.server, repository.database) as cost:
                direct = pods.do(self._events)
            pods.do(self._warm_up, send=True)
            sent = pods.do(self._events, send=True)
            self._verify(repository)
        return cost, direct, sent

    def ours(self, size: int) -> Cost:
        """Write the same events in windows of one size; return the cost."""
        with self._repositories.copy() as repository, repository.butler() as butler:
            writer, chains = ButlerWriter(butler, POLICY), ChainKeeper(butler.clone())
            write_ours(writer, self._warm_up)
            chains.ensure(self._pairs)
            with observe(self._repositories.server, repository.database) as cost:
                for first in range(0, len(self._events), size):
                    write_ours(writer, self._events[first : first + size])
                    chains.ensure(self._pairs)
            self._verify(repository)
        return cost

    def _verify(self, repository: Repository) -> None:
        """Check that all have written the same."""
        tables = repository.tables()
        self._expected = self._expected or tables
        check_same(tables, self._expected)


def run(*, quick: bool) -> Result:
    """Compare the cost of pods that write with the cost of windows."""
    result = Result("database")
    table = Table(["per event, written by", *COLUMNS])
    blocked = Table(["pods", "writes itself, p50 (ms)", "p99 (ms)", "sends, p50 (ms)", "p99 (ms)"])
    number, datasets = (96, 20) if quick else (189, MOST_DATASETS)
    with Repositories(autovacuum="off") as repositories, ApacheKafka() as kafka:
        kafka.create_topic(_TOPIC, max_message_bytes=11 * 2**20)
        comparison = _Comparison(repositories, kafka, repositories.workload(datasets), number)
        for pods in (32,) if quick else (1, 8, 32):
            cost, direct, sent = comparison.direct(pods)
            table.add(f"{pods} pods themselves", *cost.per(number))
            milliseconds = [[1000 * value for value in values] for values in (direct, sent)]
            result.raw[f"{pods} pods"] = vars(cost) | {
                "blocked writing (ms)": milliseconds[0],
                "blocked sending (ms)": milliseconds[1],
            }
            tails = [quantile(values, 0.99) for values in milliseconds]
            blocked.add(
                pods,
                *(
                    f"{value:.1f}"
                    for values, tail in zip(milliseconds, tails, strict=True)
                    for value in (median(values), tail)
                ),
            )
            result.figures["statements_per_event_direct"] = cost.statements / number
            result.figures["pod_blocked_direct_ms_p99"] = tails[0]
            result.figures["pod_blocked_event_ms_p99"] = tails[1]
        for size in (50,) if quick else (1, 10, 50, 189):
            cost = comparison.ours(size)
            table.add(f"ours, windows of {size}", *cost.per(number))
            result.raw[f"windows of {size}"] = vars(cost) | {"events": number}
            if size == 50:
                result.figures["statements_per_event_ours"] = cost.statements / number
                result.figures["commits_per_window"] = cost.commits / -(-number // size)
    result.tables += [table, blocked, _dearest(cost)]
    return result


def _dearest(cost: Cost) -> Table:
    table = Table(["our statement", "calls", "ms"])
    for statement, calls, seconds in cost.dearest:
        table.add(f"`{statement.replace('|', '')}`", calls, f"{1000 * seconds:.0f}")
    return table
