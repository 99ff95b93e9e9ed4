"""A model of what a night needs, from the cost of an event; compared with a simulated night."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.result import Result, Table

__all__ = ["Costs", "capacity"]

DETECTORS = 189
VISITS = 1000
#: Seconds between two visits.
CADENCE = 34.0
RETENTION_DAYS = 14
REPLICAS = 3
#: Highest share of time that a worker or a core of the database is busy: above it, bursts queue.
UTILISATION = 0.5
#: Partitions per worker: the load of the busiest worker, relative to the mean.
PARTITIONS = 2


@dataclass(frozen=True)
class Costs:
    """The cost of an event.

    Attributes
    ----------
    seconds : `float`
        Time of a worker, from its share of a long load.
    worker_cpu, database_cpu : `float`
        Seconds of processor time.
    wal_bytes, message_bytes : `float`
        Size in the database's log, and in Kafka.
    """

    seconds: float
    worker_cpu: float
    database_cpu: float
    wal_bytes: float
    message_bytes: float

    @classmethod
    def of(cls, results: Mapping[str, Result]) -> Costs:
        """Take the costs from the comparisons.

        Raises
        ------
        KeyError
            If one of them was not measured.
        """
        runs = results["end_to_end"].raw["1 workers, 1 partitions, 100 datasets"]
        events = len(runs[0]["latencies"])
        window = results["database"].raw["windows of 50"]

        def each(name: str) -> float:
            return float(median(run[name] for run in runs)) / events

        return cls(
            each("seconds"),
            each("cpu"),
            window["cpu"] / window["events"],
            window["wal_bytes"] / window["events"],
            each("message_bytes"),
        )

    def needs(self, factor: float) -> dict[str, str]:
        """Return what a night needs, with its events multiplied by a factor."""
        events = DETECTORS * VISITS * factor
        rate = DETECTORS / CADENCE * factor
        workers = _whole(rate * self.seconds / UTILISATION)
        kept = events * self.message_bytes * RETENTION_DAYS
        return {
            "events per night": f"{events:,.0f}",
            "events/s while observing": f"{rate:.1f}",
            "a worker is busy": f"{rate * self.seconds:.0%}",
            f"workers, each busy {UTILISATION:.0%} at most": str(workers),
            "partitions": str(workers * PARTITIONS if workers > 1 else 1),
            "cores for workers": f"{rate * self.worker_cpu:.2f}",
            "cores for the database": f"{rate * self.database_cpu:.2f}",
            "WAL per second (MB)": f"{rate * self.wal_bytes / 1e6:.2f}",
            "WAL per night (GB)": f"{events * self.wal_bytes / 1e9:.0f}",
            "Kafka, one copy of two weeks (GB)": f"{kept / 1e9:.0f}",
            f"Kafka, {REPLICAS} copies (GB)": f"{REPLICAS * kept / 1e9:.0f}",
        }


def _whole(number: float) -> int:
    return max(1, int(-(-number // 1)))


def capacity(results: Mapping[str, Result]) -> list[Table]:
    """Return what nights need, and how the model compares with a simulated part of a night.

    Raises
    ------
    KeyError
        If a measurement that it needs is missing.
    """
    costs = Costs.of(results)
    nights = [costs.needs(factor) for factor in (1, 10)]
    needs = Table(["", "a night", "ten times as many events"])
    for name in nights[0]:
        needs.add(name, *(night[name] for night in nights))
    return [needs, _check(costs, results["end_to_end"].raw["latency at ten times the design"])]


def _check(costs: Costs, segment: Mapping[str, Any]) -> Table:
    """Compare with visits that came ten times as fast as in operation."""
    events = len(segment["latencies"])
    table = Table(["simulated part of a night", "by the model", "measured"])
    pairs = {
        "a worker's processor time (s)": (costs.worker_cpu * events, segment["cpu"]),
        "WAL (MB)": (costs.wal_bytes * events / 1e6, segment["wal_bytes"] / 1e6),
        "messages (MB)": (costs.message_bytes * events / 1e6, segment["message_bytes"] / 1e6),
    }
    for name, (model, measured) in pairs.items():
        table.add(name, f"{model:.1f}", f"{measured:.1f}")
    return table
