"""The cost of staging: the same window with files in the datastore and in a staging area."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from lsst.resources import ResourcePath

from app.butler.writer import ButlerWriter
from bench.comparisons.write_path import write_ours
from bench.measuring import alternate, spread, stopwatch
from bench.repositories import POLICY, Repositories
from bench.result import Result, Table
from bench.workload import datasets_of
from simulator.event import encode_event

__all__ = ["run"]

ROUNDS = 3
_WARM_UP = 10
_DATASETS = 20


def run(*, quick: bool) -> Result:
    """Compare for two sizes of files: that of a log and that of an image."""
    result = Result("staging")
    table = Table(
        ["files, bytes per file", "in the datastore (s)", "staged (s)", "staged (files/s)"]
    )
    with Repositories() as repositories:
        for size in (1_000, 100_000) if quick else (1_000, 100_000, 5_000_000):
            events = 20 if size > 1_000_000 else 100
            contenders = {
                name: partial(_write, repositories, events, size, staged=name == "staged")
                for name in ("in the datastore", "staged")
            }
            seconds = alternate(contenders, ROUNDS)
            files = datasets_of(repositories.workload(_DATASETS).events(2, events))
            rate = files / (median(seconds["staged"]) - median(seconds["in the datastore"]))
            result.raw[f"{files} files of {size} bytes"] = seconds
            result.figures[f"staged_files_per_second_{size}"] = rate
            table.add(f"{files}, {size}", *map(spread, seconds.values()), f"{rate:.0f}")
    result.tables.append(table)
    return result


def _write(repositories: Repositories, number: int, size: int, *, staged: bool) -> float:
    """Write a window; return the seconds."""
    content = b"x" * size
    with (
        tempfile.TemporaryDirectory(prefix="butler-writer-staging-") as folder,
        repositories.copy() as repository,
        repository.butler() as butler,
    ):
        roots = (ResourcePath(folder, forceDirectory=True),)
        writer = ButlerWriter(butler, POLICY.model_copy(update={"staging_roots": roots}))
        write_ours(writer, repositories.workload(_DATASETS).events(1, _WARM_UP))
        events = list(repositories.workload(_DATASETS).decoded(2, number))
        for event in events:
            for dataset in event["datasets"]:
                artifact = repositories.root / dataset["path"]
                artifact.write_bytes(content)
                if staged:
                    in_staging = Path(folder) / dataset["path"]
                    in_staging.parent.mkdir(parents=True, exist_ok=True)
                    artifact.rename(in_staging)
            if staged:
                event["staging"] = folder
        window = [encode_event(event) for event in events]
        with stopwatch() as watch:
            write_ours(writer, window)
        return watch.seconds
