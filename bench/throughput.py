"""A model of how many events per second workers write, and of what limits them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import linear_regression
from typing import Any

from bench.result import Table

__all__ = ["Costs", "Setup", "connections", "limits", "tables", "throughput", "worker_rate"]

#: Messages in sequence that a window of known visits takes.
_ROUND_TRIPS = 8

#: The part of the other lanes' processor time for which a lane waits (fitted).  It is nearly all of
#: it: lanes that were free at the same time stay in step.
_IN_THE_WAY = 0.9


#: Processor time of the brokers, and of what measures, for each event, in seconds: what the busy
#: machine used in the measurements beside the worker and the database, 0.3 to 0.9 ms.
_OTHER = 0.0005

#: The survey's rate while observing, in events per second: 189 detectors every 34 s.
_SURVEY = 189 / 34


@dataclass(frozen=True)
class Costs:
    """What an event costs, in seconds of processor time.

    Attributes
    ----------
    worker, database : `float`
        Of the worker, and of all processes of the database's server.
    """

    worker: float
    database: float


@dataclass(frozen=True)
class Setup:
    """A deployment of the service.

    Attributes
    ----------
    workers, partitions : `int`
        Their number; each partition has the same load.
    lanes : `int`
        Number of lanes of a worker.
    share : `float`
        The share of a core that a worker gets.
    window : `float`
        Events in a window.
    round_trip : `float`
        Seconds from a worker to the database and back.
    cores : `float`
        Number of cores of the database's server.
    is_shared : `bool`
        Whether workers and brokers use these cores too.
    """

    workers: int = 1
    partitions: int = 1
    lanes: int = 2
    share: float = 1.0
    window: float = 50.0
    round_trip: float = 0.0
    cores: float = 2.0
    is_shared: bool = False


def worker_rate(costs: Costs, setup: Setup) -> float:
    """Return how many events per second one worker writes if nothing else limits it.

    A lane needs the worker's processor, which the others use too, and then waits for its own
    session of the database.
    """
    processor = costs.worker / setup.share
    session = costs.database + _ROUND_TRIPS * setup.round_trip / setup.window
    cycle = processor * (1 + _IN_THE_WAY * (setup.lanes - 1)) + session
    return min(setup.lanes / cycle, 1 / processor)


def limits(costs: Costs, setup: Setup) -> dict[str, float]:
    """Return how many events per second each part allows."""
    # The worker with the most partitions is the last to end.
    busiest = -(-setup.partitions // setup.workers)
    machine = costs.database + (costs.worker + _OTHER if setup.is_shared else 0.0)
    return {
        "workers": worker_rate(costs, setup) * setup.partitions / busiest,
        "database's cores": setup.cores / machine,
    }


def throughput(costs: Costs, setup: Setup) -> float:
    """Return how many events per second are written."""
    return min(limits(costs, setup).values())


def connections(setup: Setup) -> int:
    """Return how many connections to the database the workers have under load."""
    return setup.workers * (setup.lanes + 1)


def tables(points: Iterable[Mapping[str, Any]]) -> list[Table]:
    """Compare the model with what `scaling` measured, and ask it about more workers.

    Parameters
    ----------
    points : `~collections.abc.Iterable` [`~collections.abc.Mapping`]
        What was measured, with its setup.
    """
    measured = [*points]
    plain = Setup(window=50)
    by_datasets = {
        point["datasets"]: point
        for point in measured
        if replace(Setup(**point["setup"]), cores=plain.cores, is_shared=False) == plain
    }
    return [_compared(measured), _costs(by_datasets), _asked(by_datasets[max(by_datasets)])]


def _compared(points: Iterable[Mapping[str, Any]]) -> Table:
    what = ["workers", "core of each", "lanes", "datasets", "round trip (ms)"]
    table = Table([*what, "events/s", "by the model", "ratio"])
    for point in points:
        setup = Setup(**point["setup"])
        model = throughput(Costs(point["worker"], point["database"]), setup)
        table.add(
            setup.workers,
            f"{setup.share:g}",
            setup.lanes,
            point["datasets"],
            f"{1000 * setup.round_trip:g}",
            f"{point['rate']:.0f}",
            f"{model:.0f}",
            f"{model / point['rate']:.2f}",
        )
    return table


def _costs(points: Mapping[int, Mapping[str, Any]]) -> Table:
    """Return what an event costs by its number of datasets."""
    table = Table(["an event costs", "always", "for each dataset"])
    units = {
        "worker": ("a worker's processor time (ms)", 1000.0),
        "database": ("the database's processor time (ms)", 1000.0),
        "wal_bytes": ("WAL (KiB)", 1 / 1024),
    }
    for name, (text, unit) in units.items():
        slope, always = linear_regression([*points], [point[name] for point in points.values()])
        table.add(text, f"{unit * always:.2f}", f"{unit * slope:.3f}")
    return table


def _asked(point: Mapping[str, Any]) -> Table:
    """Return what a large deployment could write of events like those of a point."""
    setup = Setup(workers=16, partitions=64, round_trip=0.001, cores=1)
    costs = Costs(point["worker"], point["database"])
    rates = limits(costs, setup)
    what = f"{setup.workers} workers, {setup.partitions} partitions"
    needs = ["cores of the database", "WAL (MB/s)", "connections"]
    table = Table([what, "events/s", "times the survey", *needs])
    asked = {
        "ten times the survey": 10 * _SURVEY,
        "what one core of the database allows": rates["database's cores"],
        "what the workers allow": rates["workers"],
    }
    for name, rate in asked.items():
        table.add(
            name,
            f"{rate:.0f}",
            f"{rate / _SURVEY:.0f}",
            f"{rate * costs.database:.1f}",
            f"{rate * point['wal_bytes'] / 1e6:.0f}",
            connections(setup),
        )
    return table
