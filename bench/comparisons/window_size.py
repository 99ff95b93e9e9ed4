"""The window's length: its effect on latency, and on the load on the database."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median

from bench.comparisons.end_to_end import Load, start
from bench.measuring import quantile, spread
from bench.repositories import MOST_DATASETS, Repositories
from bench.result import Result, Table
from simulator.camera import DETECTORS
from simulator.transactions import PostgresTransactions
from testbed.kafka import ApacheKafka

__all__ = ["run"]

_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
_BURSTS = 3


def run(*, quick: bool) -> Result:
    """Measure a visit at once, and one whose pods end one after another, for each length."""
    del quick  # there is but one
    result = Result("window_size")
    columns = [
        "a visit at once (s)",
        "pods end one after another, p50 (s)",
        "p99 (s)",
        "commits per event",
    ]
    table = Table(["window (s)", *columns])
    with Repositories(autovacuum="off") as repositories, ApacheKafka() as kafka:
        for seconds in _SECONDS:
            with ExitStack() as stack:
                load = start(stack, repositories, kafka, MOST_DATASETS, window_seconds=seconds)
                bursts = [load.burst(len(DETECTORS)).seconds for _ in range(_BURSTS)]
                transactions = PostgresTransactions(repositories.server)
                transactions.start()
                latencies = _in_its_own_time(load)
                commits = transactions.count() / len(DETECTORS)
                load.verify(repositories, quick=False)
            table.add(
                f"{seconds:g}",
                spread(bursts),
                f"{median(latencies):.2f}",
                f"{quantile(latencies, 0.99):.2f}",
                f"{commits:.3f}",
            )
            result.raw[f"{seconds:g} s"] = {
                "bursts": bursts,
                "latencies": latencies,
                "commits an event": commits,
            }
    result.tables.append(table)
    return result


def _in_its_own_time(load: Load) -> list[float]:
    return load.send(load.workload.in_time(load.visit, len(DETECTORS))).latencies
