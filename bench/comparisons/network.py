"""The effect of a round trip of some milliseconds between worker and database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from statistics import median

from app.butler.writer import ButlerWriter
from bench.comparisons.write_path import write_ours
from bench.delay import delayed
from bench.measuring import alternate, spread, stopwatch
from bench.repositories import MOST_DATASETS, POLICY, Repositories
from bench.result import Result, Table
from bench.workload import Workload
from testbed.peer import PeerWriter
from testbed.tables import check_same

__all__ = ["run"]

_ROUNDS = 3
_OURS, _PEER = "ours", "peer's calls"


def run(*, quick: bool) -> Result:
    """Measure windows of 1 and of 189 events for each delay."""
    del quick  # there is but one
    result = Result("network")
    columns = [f"window of {size}, {name} (s)" for size in (1, 189) for name in (_OURS, _PEER)]
    table = Table(["delay each way", *columns])
    with Repositories() as repositories:
        workload = repositories.workload(MOST_DATASETS)
        for milliseconds in (0, 1, 5):
            with delayed(repositories.server.port, milliseconds / 1000) as port:
                comparison = _Comparison(repositories, workload, port)
                seconds = {size: comparison.run(size) for size in (1, 189)}
            result.raw[f"{milliseconds} ms each way"] = {
                f"window of {size}": values for size, values in seconds.items()
            }
            table.add(
                f"{milliseconds} ms",
                *(spread(seconds[size][name]) for size in (1, 189) for name in (_OURS, _PEER)),
            )
            if milliseconds:
                for size in (1, 189):
                    name = f"window_of_{size}_at_{milliseconds}_ms_s"
                    result.figures[name] = median(seconds[size][_OURS])
    result.tables.append(table)
    return result


class _Comparison:
    def __init__(self, repositories: Repositories, workload: Workload, port: int) -> None:
        self._repositories = repositories
        self._workload = workload
        self._port = port

    def run(self, size: int) -> dict[str, list[float]]:
        """Write windows of one size in both ways; return the seconds of each round."""
        visits = {name: count(2) for name in (_OURS, _PEER)}
        with (
            self._repositories.copy(port=self._port) as ours,
            self._repositories.copy(port=self._port) as theirs,
            ours.butler() as butler,
            theirs.plain_butler() as other,
        ):
            writes: dict[str, Callable[[Sequence[bytes]], None]] = {
                _OURS: partial(write_ours, ButlerWriter(butler, POLICY)),
                _PEER: PeerWriter(other).write,
            }
            for write in writes.values():
                write(self._workload.events(1, 1))

            def measure(name: str) -> float:
                events = self._workload.events(next(visits[name]), size)
                with stopwatch() as watch:
                    writes[name](events)
                return watch.seconds

            seconds = alternate({name: partial(measure, name) for name in writes}, _ROUNDS)
            check_same(ours.tables(), theirs.tables())
        return seconds
