"""What is far beyond a usual night, and still has to pass: each in a process of its own."""

from __future__ import annotations

import multiprocessing
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import orjson
from lsst.daf.butler import Butler

from app.butler.repository.chains import ChainKeeper
from app.butler.repository.connection import open_butler
from app.butler.writer import ButlerWriter
from bench.comparisons.write_path import write_ours
from bench.measuring import log_nothing, stopwatch
from bench.repositories import MOST_DATASETS, POLICY, Repositories, Repository
from bench.result import Result, Table
from bench.workload import Workload
from simulator.event import encode_event

__all__ = ["run"]

_MIB = 2**20
_DATASETS = 20_000
_TYPES = 5_000
_RUNS = 2_000
_CHILDREN = 5_000

#: The first and the last windows of the night of many runs that are compared.
_COMPARED = 100


@dataclass(frozen=True)
class _Measured:
    """What was measured.

    Attributes
    ----------
    name : `str`
        What it is of.
    seconds, cpu : `float`
        Until it was written, and the processor time of the writing process.
    peak : `int`
        How much the process grew at its largest, in bytes.
    """

    name: str
    seconds: float
    cpu: float
    peak: int


def run(*, quick: bool) -> Result:
    """Measure each extreme once."""
    del quick  # there is but one
    result = Result("extremes")
    table = Table(["what is written", "seconds", "processor time (s)", "memory grows by (MiB)"])
    with Repositories() as repositories:
        for extreme in (_one_event, _largest_event, _many_types, _many_runs, _long_chain):
            with (
                repositories.copy() as repository,
                ProcessPoolExecutor(
                    1, multiprocessing.get_context("spawn"), initializer=log_nothing
                ) as pool,
            ):
                workload = repositories.workload(MOST_DATASETS)
                found = pool.submit(extreme, repository, workload.root).result()
            for each in found:
                table.add(
                    each.name,
                    f"{each.seconds:.2f}",
                    f"{each.cpu:.2f}",
                    f"{round(each.peak / _MIB)}",
                )
            result.raw[extreme.__name__.strip("_")] = [vars(each) for each in found]
    result.tables.append(table)
    return result


def _one_event(repository: Repository, root: Path) -> list[_Measured]:
    """Write an event with 20,000 datasets, 100 in each file."""
    workload = Workload(root, MOST_DATASETS)
    files = (_in_one_file(event) for event in workload.decoded(2, 2 * _DATASETS // MOST_DATASETS))
    value = _joined(files, _DATASETS)
    with repository.butler() as butler:
        write = _warm_writer(butler, workload)
        name = f"{_DATASETS:,} datasets in one event of {len(value) / _MIB:.1f} MiB"
        return [_measure(name, partial(write, [value]))]


def _largest_event(repository: Repository, root: Path) -> list[_Measured]:
    """Write an event of 10 MiB, with a file for each dataset."""
    workload = Workload(root, MOST_DATASETS)
    sizes = [len(value) for value in workload.events(2, 2)]
    number = 10 * _MIB // max(sizes)
    value = _joined(workload.decoded(2, number), number * MOST_DATASETS)
    with repository.butler() as butler:
        write = _warm_writer(butler, workload)
        datasets = value.count(b'"dataset_type_name"')
        name = f"one event of {len(value) / _MIB:.1f} MiB, with {datasets:,} datasets and files"
        return [_measure(name, partial(write, [value]))]


def _many_types(repository: Repository, root: Path) -> list[_Measured]:
    """Write a visit's events where 5,000 dataset types are known."""
    with repository.connect() as connection:
        columns = "storage_class, dimensions_key, tag_association_table"
        connection.execute(
            f"INSERT INTO dataset_type (id, name, {columns}) "
            f"SELECT nextval('dataset_type_seq_id'), 'known' || n, {columns} "
            f"FROM generate_series(1, {_TYPES}) n, "
            "(SELECT * FROM dataset_type ORDER BY id LIMIT 1) one"
        )
    workload = Workload(root, MOST_DATASETS)
    opened: list[Callable[[list[bytes]], None]] = []
    butler = repository.butler()

    def start() -> None:
        opened.append(_warm_writer(butler, workload))

    try:
        started = _measure(f"{_TYPES:,} dataset types known: a writer's first window", start)
        events = workload.events(2, 189)
        return [started, _measure("the same: 189 events", partial(opened[0], events))]
    finally:
        butler.close()


def _many_runs(repository: Repository, root: Path) -> list[_Measured]:
    """Write 2,000 windows, each of one event in a run of its own, as a night with many restarts."""
    workload = Workload(root, 3)
    with repository.butler() as butler:
        write = _warm_writer(butler, workload)
        keeper = ChainKeeper(butler)
        (event,) = workload.decoded(2, 1)
        runs = count()

        def write_some(number: int) -> None:
            for n in islice(runs, number):
                run = f"{_run_of(event).rpartition('/')[0]}/restart{n}"
                write([encode_event(_in_run(event, run, root))])
                keeper.ensure([(run.rpartition("/")[0], run)])

        return [
            _measure(f"the first {_COMPARED} of {_RUNS:,} runs", lambda: write_some(_COMPARED)),
            _measure("those between", lambda: write_some(_RUNS - 2 * _COMPARED)),
            _measure(f"the last {_COMPARED}", lambda: write_some(_COMPARED)),
        ]


def _long_chain(repository: Repository, root: Path) -> list[_Measured]:
    """Prepend a run to a chain of 5,000 children, by a writer that has not seen it before."""
    with repository.butler() as butler:
        children = [f"long/{n}" for n in range(_CHILDREN)]
        for child in children:
            butler.collections.register(child)
        ChainKeeper(butler).ensure([("long", "long/0")])
        butler.collections.redefine_chain("long", children)
        butler.collections.register("long/new")
    with open_butler(str(repository.config), POLICY) as fresh:
        keeper = ChainKeeper(fresh)
        name = f"a run prepended to a chain of {_CHILDREN:,} children"
        return [
            _measure(name, partial(keeper.ensure, [("long", "long/new")])),
            _measure(
                "the same run again", partial(ChainKeeper(fresh).ensure, [("long", "long/new")])
            ),
        ]


def _warm_writer(butler: Butler, workload: Workload) -> Callable[[list[bytes]], None]:
    write = partial(write_ours, ButlerWriter(butler, POLICY))
    write(workload.events(1, 1))
    return write


def _measure(name: str, call: Callable[[], object]) -> _Measured:
    Path("/proc/self/clear_refs").write_text("5")  # a new peak
    before = _memory("VmRSS")
    with stopwatch() as watch:
        call()
    return _Measured(name, watch.seconds, watch.cpu, _memory("VmHWM") - before)


def _memory(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _run_of(event: dict[str, Any]) -> str:
    (ref, *_) = event["datasets"][0]["refs"].values()
    return str(ref["run"])


def _in_one_file(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event with all datasets of its largest run in one file."""
    runs: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    files = {}
    for file in event["datasets"]:
        for name, ref in file["refs"].items():
            runs[ref["run"]][name] = ref
            files[ref["run"]] = file
    run = max(runs, key=lambda each: len(runs[each]))
    return {**event, "datasets": [{**files[run], "refs": runs[run]}]}


def _joined(events: Iterator[dict[str, Any]], datasets: int) -> bytes:
    """Return one event with what several have, up to a number of datasets."""
    joined: dict[str, Any] = {}
    records: dict[bytes, Any] = {}
    number = 0
    for event in events:
        joined = joined or {**event, "datasets": []}
        records |= {orjson.dumps(record): record for record in event["dimension_records"]}
        for file in event["datasets"]:
            left = dict(islice(file["refs"].items(), datasets - number))
            number += len(left)
            if left:
                joined["datasets"].append({**file, "refs": left})
        if number == datasets:
            break
    return encode_event({**joined, "dimension_records": [*records.values()]})


def _in_run(event: dict[str, Any], run: str, root: Path) -> dict[str, Any]:
    """Return an event in another run, with artifacts there."""
    before = _run_of(event)
    files = []
    for file in event["datasets"]:
        path = file["path"].replace(before, run)
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"{}")
        refs = {
            str(uuid5(UUID(name), run)): {**ref, "run": run} for name, ref in file["refs"].items()
        }
        files.append({**file, "path": path, "refs": refs})
    return {**event, "datasets": files}
