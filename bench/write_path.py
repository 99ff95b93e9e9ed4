"""The write path: from the raw bytes of a window's events to the commit.

Ours with all checks on, the calls that the deployed service makes, and COPY as the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from app.butler.outcome import Written
from app.butler.writer import ButlerWriter
from bench.copying import Rows, copy_in, copy_out
from bench.measuring import alternate, median_ratio, spread, stopwatch
from bench.peer import PeerWriter
from bench.repositories import MOST_DATASETS, POLICY, Repositories, Repository
from bench.result import Result, Table
from bench.workload import datasets_of
from models import PromptOutput
from tests.tables import Tables, check_same

__all__ = ["run", "write_ours"]

ROUNDS = 3

#: Events that each writer writes first: its caches are then filled, as a worker's are.
_WARM_UP = 10

_OURS, _PEER, _COPY = "ours", "peer's calls", "COPY"


def write_ours(writer: ButlerWriter, events: Sequence[bytes]) -> None:
    """Write a window as the worker does, and see that all of it is written."""
    report = writer.write([PromptOutput.decode(event) for event in events])
    refused = [outcome for outcome in report.outcomes if not isinstance(outcome, Written)]
    assert not refused, refused[0]


@dataclass
class Comparison:
    """The three ways to write one window.

    Attributes
    ----------
    repositories : `Repositories`
        Where to.
    warm_up, window : `list` [`bytes`]
        The events that are written unmeasured, and those that are measured.
    """

    repositories: Repositories
    warm_up: list[bytes]
    window: list[bytes]
    expected: Tables = field(init=False)
    rows: tuple[list[Rows], list[Rows]] = field(init=False)

    def __post_init__(self) -> None:
        """Write it by the public path: what that leaves is right, and is what COPY copies."""
        with self.repositories.copy() as repository, repository.butler() as butler:
            peer = PeerWriter(butler)
            peer.write(self.warm_up)
            middle = repository.now()
            peer.write(self.window)
            self.expected = repository.tables()
            self.rows = (
                copy_out(repository, repository.begin, middle),
                copy_out(repository, middle, repository.now()),
            )

    def ours(self) -> float:
        """Write by our path; return the seconds."""
        with self.repositories.copy() as repository, repository.butler() as butler:
            return self._measure(repository, partial(write_ours, ButlerWriter(butler, POLICY)))

    def peer(self) -> float:
        """Write by the deployed service's calls; return the seconds."""
        with self.repositories.copy() as repository, repository.butler() as butler:
            return self._measure(repository, PeerWriter(butler).write)

    def copy(self) -> float:
        """Write the same rows by COPY; return the seconds."""
        with self.repositories.copy() as repository, repository.connect() as connection:
            copy_in(connection, self.rows[0])
            with stopwatch() as watch:
                copy_in(connection, self.rows[1])
            check_same(repository.tables(), self.expected)
            return watch.seconds

    def _measure(self, repository: Repository, write: Callable[[Sequence[bytes]], None]) -> float:
        write(self.warm_up)
        with stopwatch() as watch:
            write(self.window)
        check_same(repository.tables(), self.expected)
        return watch.seconds

    def run(self, rounds: int) -> dict[str, list[float]]:
        """Alternate the three; return the seconds of each round."""
        return alternate({_OURS: self.ours, _PEER: self.peer, _COPY: self.copy}, rounds)


def run(*, quick: bool) -> Result:
    """Compare the write paths by size of the window, and by datasets an event."""
    result = Result("write_path")
    table = Table(
        [
            "events, datasets",
            f"{_OURS} (s)",
            f"{_PEER} (s)",
            f"{_COPY} (s)",
            f"{_OURS} (datasets/s)",
            f"over {_PEER}",
            f"share of {_COPY}",
        ]
    )
    with Repositories() as repositories:
        for datasets in (MOST_DATASETS,) if quick else (20, MOST_DATASETS):
            workload = repositories.workload(datasets)
            warm_up = workload.events(1, _WARM_UP)
            for size in (50, 189) if quick else (1, 10, 50, 189, 500):
                window = workload.events(2, size)
                seconds = Comparison(repositories, warm_up, window).run(ROUNDS)
                number = datasets_of(window)
                over_peer = median_ratio(seconds[_PEER], seconds[_OURS])
                of_copy = median_ratio(seconds[_COPY], seconds[_OURS])
                if datasets == MOST_DATASETS:
                    result.figures[f"write_vs_peer_calls_{size}"] = over_peer
                    result.figures[f"write_vs_copy_{size}"] = of_copy
                result.raw[f"{size} events, {number} datasets (s)"] = seconds
                table.add(
                    f"{size}, {number}",
                    *(spread(values) for values in seconds.values()),
                    f"{number / median(seconds[_OURS]):.0f}",
                    f"{over_peer:.2f}",
                    f"{of_copy:.2f}",
                )
    result.tables.append(table)
    return result
