"""What more workers, and more lanes of one worker, write of the same visits.

Workers, database and brokers share the machine.  Here each worker gets a fifth of a core, as a
stand-in for a node of its own, so that the machine is not the limit.  Lanes share the core of their
process, so they are compared without such a limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from statistics import median
from typing import Any

import click

from bench.comparisons.end_to_end import Load, start, start_all
from bench.database_side import Cost, observe_waits
from bench.delay import delayed
from bench.measuring import alternate, median_ratio, spread
from bench.repositories import FEWER_DATASETS, MOST_DATASETS, Repositories
from bench.result import Result, Table
from bench.service import Run
from bench.throughput import Setup
from testbed.cluster import Cluster
from testbed.control_groups import processor_group
from testbed.kafka import ApacheKafka

__all__ = ["run"]

#: The share of a core that each worker gets.
_SHARE = 0.2

_NUMBERS = (1, 2, 4)

#: Largest window, so that a load has many windows: without it, it has two or three of each lane.
_WINDOW_EVENTS = 50

#: Events of a load for each worker, and those of a load for lanes: some seconds.
_EVENTS_A_WORKER = 600
_EVENTS_FOR_LANES = 1500

_ROUNDS = 3

#: In a quick run, about how long a load takes at most, in seconds: a slow machine gets fewer
#: events.  The events of a trial show how fast it is.
_QUICK_SECONDS = 8.0
_TRIAL_EVENTS = 150

#: Milliseconds to the database, each way.
_DELAYS = (1, 5)


class NoControlGroupsError(RuntimeError):
    """Processor time cannot be limited on this machine."""


@dataclass
class _Contender:
    """A service under load, with what each load took."""

    load: Load
    events: int
    setup: Setup
    datasets: int = FEWER_DATASETS
    costs: list[Cost] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def measure(self, repositories: Repositories) -> float:
        """Send events of new visits at once; return the seconds that an event took."""
        repository = self.load.service.repository
        with observe_waits(repositories.server, repository.database) as cost:
            self.runs.append(self.load.burst(self.events))
        self.costs.append(cost)
        begin, end = self.runs[-1].middle
        return (end.at - begin.at) / (end.events - begin.events)

    def of_each(self, name: str) -> float:
        """Return what an event took of the database: the median of the loads."""
        return float(median(getattr(cost, name) for cost in self.costs)) / self.events

    def point(self, seconds: list[float]) -> dict[str, Any]:
        """Return what was measured, for the model, from the seconds that an event took."""
        return {
            "setup": asdict(self.setup),
            "datasets": self.datasets,
            "rate": 1 / median(seconds),
            "worker": median(run.cpu for run in self.runs) / self.events,
            "database": self.of_each("cpu"),
            "wal_bytes": median(run.wal_bytes for run in self.runs) / self.events,
            "connections": max(cost.connections for cost in self.costs),
        }

    @property
    def idle(self) -> float:
        """Share of the machine's processor time that was idle."""
        middles = [run.middle for run in self.runs]
        return median(begin.idle_share(end) for begin, end in middles)


def run(*, quick: bool) -> Result:
    """Measure 1, 2 and 4 workers, and 1 and 2 lanes of one worker.

    In thorough runs, also 4 lanes, a database that is some milliseconds away, and other events.
    """
    result = Result("scaling", raw={"points": []})
    with Repositories(autovacuum="off") as repositories, ApacheKafka() as kafka:
        scaling = _Scaling(repositories, kafka, result, quick=quick)
        scaling.measure()
        for milliseconds in () if quick else _DELAYS:
            with delayed(repositories.server.port, milliseconds / 1000) as port:
                scaling.measure(port, milliseconds)
        if not quick:
            scaling.measure_datasets()
    return result


@dataclass
class _Scaling:
    """Measures more and more workers, and lanes."""

    repositories: Repositories
    kafka: Cluster
    result: Result
    quick: bool

    def measure(self, port: int | None = None, milliseconds: int = 0) -> None:
        """Let workers use the database at a port, by default its own one, so far away."""
        place = f", database {milliseconds} ms away" if milliseconds else ""
        round_trip = 2 * milliseconds / 1000
        try:
            with _workers(self.repositories, self.kafka, port, round_trip) as workers:
                seconds = self._compare(workers, f"workers, each {_SHARE} core{place}")
        except NoControlGroupsError as exc:
            if os.environ.get("CI"):
                raise
            click.echo(f"{exc}: the figures of several workers are left out")
        else:
            if not place:
                self._add_figures_of_workers(workers, seconds)
        numbers = _NUMBERS[:2] if self.quick else _NUMBERS
        with _lanes(self.repositories, self.kafka, numbers, port, round_trip) as lanes:
            seconds = self._compare(lanes, f"lanes of one worker{place}")
        if not place:
            figures = self.result.figures
            figures["scaling_2_lanes"] = median_ratio(seconds[1], seconds[2])
            figures["scaling_2_lanes_idle"] = lanes[2].idle

    def measure_datasets(self) -> None:
        """Let one worker write events of different sizes."""
        with _sizes(self.repositories, self.kafka) as sizes:
            self._compare(sizes, "datasets per event, one worker")

    def _add_figures_of_workers(
        self, workers: dict[int, _Contender], seconds: dict[int, list[float]]
    ) -> None:
        figures, most = self.result.figures, workers[_NUMBERS[-1]]
        for number in _NUMBERS[1:]:
            figures[f"scaling_{number}_workers"] = median_ratio(seconds[1], seconds[number])
        figures["scaling_4_workers_idle"] = most.idle
        figures["lock_wait_ms_per_event_4_workers"] = 1000 * most.of_each("lock_waits")

    def _compare(self, contenders: dict[int, _Contender], name: str) -> dict[int, list[float]]:
        """Let the contenders write in turn; return the seconds that an event took, by number."""
        if self.quick:
            _shorten(contenders)
        measured = alternate(
            {
                str(number): partial(contender.measure, self.repositories)
                for number, contender in contenders.items()
            },
            _ROUNDS - 1 if self.quick else _ROUNDS,
        )
        table = Table([name, "events/s", "lock waits (ms)", "database CPU (ms)", "machine idle"])
        for number, contender in contenders.items():
            seconds = measured[str(number)]
            table.add(
                number,
                spread([1 / value for value in seconds]),
                f"{1000 * contender.of_each('lock_waits'):.2f}",
                f"{1000 * contender.of_each('cpu'):.1f}",
                f"{contender.idle:.0%}",
            )
            contender.load.verify(self.repositories, quick=True)
            self.result.raw["points"].append(contender.point(seconds))
            self.result.raw[f"{number} {name}"] = [
                vars(run) | {"database": vars(cost)}
                for run, cost in zip(contender.runs, contender.costs, strict=True)
            ]
        self.result.tables.append(table)
        return {int(number): seconds for number, seconds in measured.items()}


def _shorten(contenders: dict[int, _Contender]) -> None:
    """Reduce the events of all loads, in proportion, if the first one would take too long."""
    first = contenders[1]
    trial = first.load.burst(_TRIAL_EVENTS).seconds
    share = min(1.0, _QUICK_SECONDS * _TRIAL_EVENTS / trial / first.events)
    for contender in contenders.values():
        contender.events = round(share * contender.events)


_start = partial(start, window_events=_WINDOW_EVENTS)
_setup = partial(Setup, window=_WINDOW_EVENTS, cores=float(os.cpu_count() or 1), is_shared=True)


@contextmanager
def _workers(
    repositories: Repositories, kafka: Cluster, port: int | None, round_trip: float
) -> Iterator[dict[int, _Contender]]:
    """Start services with different numbers of workers; every visit is on all partitions."""
    # A group can be removed once its processes have ended.
    with ExitStack() as groups, ExitStack() as stack:
        call = partial(_start, stack, repositories, kafka, FEWER_DATASETS, port=port)
        loads = start_all({number: partial(call, workers=number) for number in _NUMBERS})
        contenders = {
            number: _Contender(
                load,
                number * _EVENTS_A_WORKER,
                _setup(number, number, share=_SHARE, round_trip=round_trip),
            )
            for number, load in loads.items()
        }
        # Only now: with so little of a core, a start takes a minute.
        for contender in contenders.values():
            for worker in contender.load.service.workers:
                group = groups.enter_context(processor_group(_SHARE))
                if group is None:
                    raise NoControlGroupsError("no control group can limit processor time")
                group.add(worker)
        yield contenders


@contextmanager
def _lanes(
    repositories: Repositories,
    kafka: Cluster,
    numbers: Sequence[int],
    port: int | None,
    round_trip: float,
) -> Iterator[dict[int, _Contender]]:
    """Start workers with different numbers of lanes."""
    with ExitStack() as stack:
        call = partial(_start, stack, repositories, kafka, FEWER_DATASETS, port=port)
        loads = start_all({number: partial(call, lanes=number) for number in numbers})
        yield {
            number: _Contender(load, _EVENTS_FOR_LANES, _setup(lanes=number, round_trip=round_trip))
            for number, load in loads.items()
        }


@contextmanager
def _sizes(repositories: Repositories, kafka: Cluster) -> Iterator[dict[int, _Contender]]:
    """Start workers, each for events of another size."""
    with ExitStack() as stack:
        yield {
            datasets: _Contender(
                _start(stack, repositories, kafka, datasets), _EVENTS_FOR_LANES, _setup(), datasets
            )
            for datasets in (MOST_DATASETS // 5, MOST_DATASETS)
        }
