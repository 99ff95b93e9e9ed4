"""Difficult windows: of one event, with a bad event, delivered again."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, TypeAlias
from uuid import UUID, uuid5

from app.butler.outcome import Rejection
from app.butler.private.registry import engine_of
from app.butler.writer import ButlerWriter
from bench.comparisons.write_path import worker_collector, write_ours
from bench.measuring import alternate, median_ratio, spread, stopwatch
from bench.repositories import MOST_DATASETS, POLICY, Repositories, Repository
from bench.result import Result, Table
from bench.workload import Workload
from models.prompt_output import PromptOutput
from simulator.event import encode_event
from testbed.peer import PeerWriter
from testbed.sent_messages import sent_messages
from testbed.tables import check_same
from testbed.writing import write_window

__all__ = ["run"]

_SIZE = 50
_ROUNDS = 5

Event: TypeAlias = dict[str, Any]


def _unknown_dataset_type(event: Event) -> None:
    _last_ref(event)["dataset_type_name"] = "never_registered"


def _missing_dimension_record(event: Event) -> None:
    _last_ref(event)["data_id"]["detector"] = 999


def _data_id_of_another(event: Event) -> None:
    """Give the datasets new ids, as a pod that ran twice would; those of its first run exist."""
    for dataset in event["datasets"]:
        dataset["refs"] = {str(uuid5(UUID(key), "")): ref for key, ref in dataset["refs"].items()}


def _number_out_of_range(event: Event) -> None:
    """Add a record with a number out of its column's range; the database does not name the row."""
    record = next(r for r in event["dimension_records"] if r["definition"] == "visit_system")
    record["record"]["id"] = 10**18 * 10


def _missing_file(event: Event) -> None:
    event["datasets"][-1]["path"] += ".missing"


def _last_ref(event: Event) -> Event:
    ref: Event
    (ref,) = event["datasets"][-1]["refs"].values()
    return ref


#: Kinds of bad events; with the last one, the service waits for a file, as configured.
BAD_EVENTS: dict[str, Callable[[Event], None]] = {
    "unknown dataset type": _unknown_dataset_type,
    "missing dimension record": _missing_dimension_record,
    "data ID of another dataset": _data_id_of_another,
    "number out of range": _number_out_of_range,
    "missing file": _missing_file,
}

#: Windows of one event that each writer writes first, unmeasured.
_WARM_UP = 3


def run(*, quick: bool) -> Result:
    """Measure small windows and, in thorough runs, windows with bad or redelivered events."""
    result = Result("windows")
    with Repositories() as repositories:
        _ones(repositories, result, number=7 if quick else 50)
        if not quick:
            _with_bad_events(repositories, result)
    return result


def _ones(repositories: Repositories, result: Result, number: int) -> None:
    """Measure windows of one event: of a new visit, and of a known one."""
    workload = repositories.workload(MOST_DATASETS)
    new = [workload.events(visit, 1) for visit in range(2, 2 + number)]
    known = [[event] for event in workload.events(1, _WARM_UP + number)]
    warm_up, known = known[:_WARM_UP], known[_WARM_UP:]
    with (
        repositories.copy() as ours,
        repositories.copy() as theirs,
        ours.butler() as butler,
        theirs.plain_butler() as other,
    ):
        writer, peer = ButlerWriter(butler, POLICY), PeerWriter(other)
        for events in warm_up:
            write_ours(writer, events)
            peer.write(events)
        table = Table(["window of one event of", "ours (ms)", "peer's calls (ms)"])
        for kind, windows in {"a new visit": new, "a known visit": known}.items():
            mine, peers = [], []
            for events in windows:
                with stopwatch() as watch:
                    write_ours(writer, events)
                mine.append(1000 * watch.seconds)
                with stopwatch() as watch:
                    peer.write(events)
                peers.append(1000 * watch.seconds)
            result.raw[f"window of one of {kind} (ms)"] = {"ours": mine, "peer": peers}
            table.add(kind, spread(mine), spread(peers))
            result.figures["window_of_one_ms"] = max(
                result.figures.get("window_of_one_ms", 0.0), statistics.median(mine)
            )
        last = workload.events(2 + number, 1)
        with sent_messages(engine_of(butler)) as sent:
            write_ours(writer, last)
        peer.write(last)
        result.figures["round_trips_window_of_one"] = len(sent)
        check_same(ours.tables(), theirs.tables())
    result.tables.append(table)


class _Windows:
    """Windows of 50 events for one writer, each from its own visit; good events are collected."""

    def __init__(self, writer: ButlerWriter, workload: Workload) -> None:
        self._writer = writer
        self._workload = workload
        self._visits = count(1)
        self.good: list[list[bytes]] = []

    def clean(self) -> float:
        """Write a window."""
        return self._write(self._next())

    def redelivered(self) -> float:
        """Write a window that has been written before."""
        events = self._next()
        self._write(events)
        return self._write(events)

    def with_bad_event(self, spoil: Callable[[Event], None]) -> float:
        """Write a window with one bad event."""
        visit = next(self._visits)
        *events, bad = self._workload.decoded(visit, _SIZE)
        if spoil is _data_id_of_another:
            self._write([encode_event(bad)])
            self.good.append([encode_event(bad)])
        spoil(bad)
        serialized = [encode_event(event) for event in events]
        self.good.append(serialized)
        half = _SIZE // 2
        return self._write([*serialized[:half], encode_event(bad), *serialized[half:]], half)

    def _next(self) -> list[bytes]:
        events = self._workload.events(next(self._visits), _SIZE)
        self.good.append(events)
        return events

    def _write(self, events: Sequence[bytes], bad: int | None = None) -> float:
        with stopwatch() as watch, worker_collector():
            report = write_window(self._writer, [PromptOutput.decode(event) for event in events])
        refused = [
            number for number, outcome in report.outcomes.items() if isinstance(outcome, Rejection)
        ]
        assert refused == ([] if bad is None else [bad]), refused
        return watch.seconds


def _with_bad_events(repositories: Repositories, result: Result) -> None:
    workload = repositories.workload(MOST_DATASETS)
    with repositories.copy() as repository:
        with repository.butler() as butler:
            windows = _Windows(ButlerWriter(butler, POLICY), workload)
            windows.clean()
            seconds = alternate(
                {
                    "clean": windows.clean,
                    "redelivered": windows.redelivered,
                    **{
                        name: partial(windows.with_bad_event, spoil)
                        for name, spoil in BAD_EVENTS.items()
                    },
                },
                _ROUNDS,
            )
        _verify(repositories, repository, windows)
    table = Table([f"window of {_SIZE}", "seconds", "relative to a clean one"])
    for name, values in seconds.items():
        table.add(name, spread(values), f"{median_ratio(values, seconds['clean']):.2f}")
    worst = max(
        median_ratio(seconds[name], seconds["clean"])
        for name in BAD_EVENTS
        if name != "missing file"
    )
    result.tables.append(table)
    result.raw[f"window of {_SIZE} (s)"] = seconds
    result.figures[f"bad_event_{_SIZE}_vs_clean"] = worst
    result.figures["redelivered_vs_fresh"] = median_ratio(seconds["redelivered"], seconds["clean"])


def _verify(repositories: Repositories, repository: Repository, windows: _Windows) -> None:
    """Compare with what the public method writes for the good events."""
    with repositories.copy() as plain:
        with plain.plain_butler() as butler:
            peer = PeerWriter(butler)
            for events in windows.good:
                peer.write(events)
        check_same(repository.tables(), plain.tables())
