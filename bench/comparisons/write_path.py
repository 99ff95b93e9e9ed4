"""Writing a window: from the raw bytes of a window's events to the commit.

Compares our write, with all checks on, with the deployed service's calls and with COPY, the limit.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from app import COLLECTOR_THRESHOLDS
from app.butler.outcome import Written
from app.butler.writer import ButlerWriter
from bench.copying import Rows, copy_in, copy_out
from bench.measuring import alternate, median_ratio, spread, stopwatch
from bench.repositories import FEWER_DATASETS, MOST_DATASETS, POLICY, Repositories, Repository
from bench.result import Result, Table
from bench.workload import datasets_of
from models.prompt_output import PromptOutput
from testbed.peer import PeerWriter
from testbed.tables import Tables, check_same
from testbed.writing import write_window

__all__ = ["run", "write_ours"]

ROUNDS = 3

#: Events that each writer writes first, to fill its caches as in a running worker.
_WARM_UP = 3

#: Number of visits that together have more than a million datasets.
_FILLING_TIMES = 56
#: A number far from those of the visits that are written later.
_FILLING_VISIT = 900

_OURS, _PEER, _COPY = "ours", "peer's calls", "COPY"


@contextmanager
def worker_collector() -> Iterator[None]:
    """Use the garbage collector's thresholds of a worker; the other variants use the default."""
    default = gc.get_threshold()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*default)


def write_ours(writer: ButlerWriter, events: Sequence[bytes]) -> None:
    """Write a window in the same way as a worker, and check that everything was written."""
    with worker_collector():
        report = write_window(writer, [PromptOutput.decode(event) for event in events])
    refused = [outcome for outcome in report.outcomes.values() if not isinstance(outcome, Written)]
    assert not refused, refused[0]


@dataclass
class Comparison:
    """Three ways to write one window.

    Attributes
    ----------
    repositories : `Repositories`
        Where to write.
    filled : `bool`
        Whether the repository already has a million datasets.
    warm_up, window : `list` [`bytes`]
        The events that are written first, unmeasured, and those that are measured.
    """

    repositories: Repositories
    filled: bool
    warm_up: list[bytes]
    window: list[bytes]
    expected: Tables | None = None
    rows: tuple[list[Rows], list[Rows]] | None = None

    def ours(self) -> float:
        """Write with our method; return the seconds."""
        with (
            self.repositories.copy(filled=self.filled) as repository,
            repository.butler() as butler,
        ):
            writer = ButlerWriter(butler, POLICY)
            write_ours(writer, self.warm_up)
            with stopwatch() as watch:
                write_ours(writer, self.window)
            self._verify(repository)
        return watch.seconds

    def peer(self) -> float:
        """Write with the deployed service's calls; return the seconds.

        The result is correct, since public methods write it, so COPY then copies its rows.
        """
        with (
            self.repositories.copy(filled=self.filled) as repository,
            repository.plain_butler() as butler,
        ):
            write = PeerWriter(butler).write
            write(self.warm_up)
            middle = repository.now()
            with stopwatch() as watch:
                write(self.window)
            if self.expected is None:
                self.expected = repository.tables()
                self.rows = (
                    copy_out(repository, repository.begin, middle),
                    copy_out(repository, middle, repository.now()),
                )
            self._verify(repository)
        return watch.seconds

    def copy(self) -> float:
        """Write the same rows with COPY; return the seconds."""
        assert self.rows is not None, "the peer comes first"
        with (
            self.repositories.copy(filled=self.filled) as repository,
            repository.connect() as connection,
        ):
            copy_in(connection, self.rows[0])
            with stopwatch() as watch:
                copy_in(connection, self.rows[1])
            self._verify(repository)
        return watch.seconds

    def _verify(self, repository: Repository) -> None:
        assert self.expected is not None, "the peer comes first"
        check_same(repository.tables(), self.expected)

    def run(self, rounds: int) -> dict[str, list[float]]:
        """Alternate the three ways; return the seconds of each round."""
        return alternate({_PEER: self.peer, _OURS: self.ours, _COPY: self.copy}, rounds)


def run(*, quick: bool) -> Result:
    """Compare the ways for window sizes, datasets per event, and filled repositories."""
    result = Result("write_path")
    columns = [f"{_OURS} (s)", f"{_PEER} (s)", f"{_COPY} (s)", f"{_OURS} (datasets/s)"]
    table = Table(["window of", *columns, f"over {_PEER}", f"share of {_COPY}"])
    with Repositories() as repositories:
        for case in _cases(repositories, quick=quick):
            seconds = case.comparison.run(ROUNDS)
            over_peer = median_ratio(seconds[_PEER], seconds[_OURS])
            of_copy = median_ratio(seconds[_COPY], seconds[_OURS])
            number = datasets_of(case.comparison.window)
            table.add(
                case.name,
                *(spread(seconds[contender]) for contender in (_OURS, _PEER, _COPY)),
                f"{number / median(seconds[_OURS]):.0f}",
                f"{over_peer:.2f}",
                f"{of_copy:.2f}",
            )
            result.raw[case.name] = {"datasets": number, "seconds": seconds}
            if case.figure:
                result.figures[f"write_vs_peer_calls_{case.figure}"] = over_peer
                result.figures[f"write_vs_copy_{case.figure}"] = of_copy
    result.tables.append(table)
    return result


@dataclass
class _Case:
    name: str
    comparison: Comparison
    figure: int | None = None


def _cases(repositories: Repositories, *, quick: bool) -> Iterator[_Case]:
    for datasets in (FEWER_DATASETS,) if quick else (20, MOST_DATASETS):
        workload = repositories.workload(datasets)
        warm_up = workload.events(1, _WARM_UP)
        for size in (50, 189) if quick else (1, 10, 50, 189, 500):
            comparison = Comparison(repositories, False, warm_up, workload.events(2, size))
            figure = size if quick or datasets == MOST_DATASETS else None
            yield _Case(f"{size} events of {datasets} datasets", comparison, figure)
    if quick:
        return
    there = repositories.fill(workload.events(_FILLING_VISIT, 189), times=_FILLING_TIMES)
    for size in (10, 189):
        comparison = Comparison(repositories, True, warm_up, workload.events(2, size))
        name = f"{size} events of {datasets} datasets into {there / 1e6:.2f} M"
        yield _Case(name, comparison)
