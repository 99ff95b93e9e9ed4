"""The file check on S3: our check of every artifact, compared with a listing of the folders.

The S3 service is moto's server, in its own process on the same machine. It shares the cores, and
its speed limits the rate. The processor time is that of this process only.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path, PurePosixPath
from statistics import median
from typing import TYPE_CHECKING

import boto3
from lsst.daf.butler import Butler, Config

from app.butler.events.context import ParsingContext
from app.butler.events.limits import EventLimits
from app.butler.events.parse import WindowParser
from app.butler.events.parsed import ParsedEvent
from app.butler.files.check import FileChecker
from app.butler.private.datastores import Datastores
from app.butler.repository.dataset_types import DatasetTypes
from app.butler.repository.new_types import NewTypes
from bench.measuring import alternate, spread, stopwatch
from bench.repositories import MOST_DATASETS, POLICY
from bench.result import Result, Table
from bench.workload import Workload
from models.prompt_output import PromptOutput
from simulator.repository import make_repository
from testbed.s3 import S3Server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["run"]

_EVENTS = 30
_BUCKET = "artifacts"
_ROUNDS = 5
_UPLOADERS = 8


def _serve(pipe: Connection) -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs a line for each request
    with S3Server() as server:
        server.create_bucket(_BUCKET)
        pipe.send(server.environment)
        pipe.recv()


@contextmanager
def _server() -> Iterator[None]:
    """Run the service, and set this process's environment so that it finds the service."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    process = fork.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    os.environ.update(here.recv())
    try:
        yield
    finally:
        here.send(None)
        process.join()


def run(*, quick: bool) -> Result:
    """Compare ways to check that a window's artifacts exist."""
    del quick  # there is but one
    result = Result("s3")
    with tempfile.TemporaryDirectory() as folder, _server():
        root = Path(folder) / "repository"
        make_repository(root)
        config = Config(str(root / "butler.yaml"))
        config["datastore", "root"] = f"s3://{_BUCKET}/"
        config.dumpToUri((root / "butler.yaml").as_uri())
        with Butler.from_config(str(root), writeable=True) as butler:
            comparison = _Comparison(butler, Workload(root, MOST_DATASETS))
            cpu: dict[str, list[float]] = {name: [] for name in comparison.ways}

            def measure(name: str) -> float:
                with stopwatch() as watch:
                    missing = comparison.ways[name]()
                assert missing == 0, missing
                cpu[name].append(watch.cpu)
                return watch.seconds

            seconds = alternate(
                {name: lambda name=name: measure(name) for name in comparison.ways},  # type: ignore[misc]
                _ROUNDS,
            )
        files = len(comparison.paths)
    table = Table(
        [
            "way",
            "files/s",
            "CPU per file (ms)",
            f"CPU for a visit of 189 x {MOST_DATASETS} files (s)",
        ]
    )
    for name, values in seconds.items():
        each = [1000 * value / files for value in cpu[name]]
        table.add(
            name,
            spread([files / value for value in values]),
            spread(each),
            f"{median(each) * 189 * MOST_DATASETS / 1000:.1f}",
        )
        result.raw[name] = {"files": files, "seconds": values, "cpu": cpu[name]}
    result.tables.append(table)
    result.figures["file_check_s3_per_s"] = files / median(seconds["our check"])
    result.figures["file_check_s3_cpu_ms"] = 1000 * median(cpu["our check"]) / files
    return result


class _Comparison:
    def __init__(self, butler: Butler, workload: Workload) -> None:
        for dataset_type in workload.night.dataset_types:
            butler.registry.registerDatasetType(dataset_type)
        datastores = Datastores(butler)
        types = DatasetTypes(butler, NewTypes(0))
        window = WindowParser(ParsingContext(butler, POLICY, datastores, types, EventLimits()))
        self._events: list[ParsedEvent] = [
            window.parse(PromptOutput.decode(event)) for event in workload.events(1, _EVENTS)
        ]
        self._checker = FileChecker(datastores, POLICY)
        self._client: S3Client = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT_URL"])
        self.paths = {artifact.path for event in self._events for artifact in event.artifacts}
        with ThreadPoolExecutor(_UPLOADERS) as pool:
            list(pool.map(self._upload, self.paths))
        self.ways = {"our check": self._check, "listing of each folder": self._list}

    def _upload(self, path: str) -> None:
        self._client.put_object(Bucket=_BUCKET, Key=path, Body=b"{}")

    def _check(self) -> int:
        missing = self._checker.missing(self._events, lambda: True)
        return sum(1 for of_event in missing.values() if of_event)

    def _list(self) -> int:
        """List the folders of a visit's artifacts, one for each dataset type."""
        pages = self._client.get_paginator("list_objects_v2")
        found = {
            item["Key"]
            for folder in {str(PurePosixPath(path).parent) for path in self.paths}
            for page in pages.paginate(Bucket=_BUCKET, Prefix=f"{folder}/")
            for item in page.get("Contents", ())
        }
        return len(self.paths - found)
