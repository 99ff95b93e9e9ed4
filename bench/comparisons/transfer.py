"""How long a pod is blocked by the transfer of its outputs: by its own write, or by the client.

In each case, its artifacts are copied first: to their final location, or to a staging area.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from lsst.resources import ResourcePath

from app.butler.repository.chains import ChainKeeper
from bench.measuring import quantile
from bench.repositories import MOST_DATASETS, Repositories, Repository
from bench.result import Result, Table
from bench.workload import Workload
from butler_writer_client import KafkaTopic, Mode, PromptOutputWriter
from simulator.event import encode_event, event_of, write_outputs
from testbed.kafka import ApacheKafka
from testbed.peer import PeerWriter

__all__ = ["run"]

_TOPIC = "pp-output"
_ROUNDS = 5

_DIRECT = "writes itself"
_WAYS = {
    _DIRECT: None,
    "client, final location": Mode.FINAL,
    "client, staging": Mode.STAGING,
}


@dataclass
class _Pod:
    """A process that transfers the outputs of simulated pods, one after another."""

    workload: Workload
    root: Path
    writer: PeerWriter
    chains: ChainKeeper
    clients: dict[Mode, PromptOutputWriter]

    def transfer(self, way: str, number: int) -> float:
        """Transfer the outputs of a pod; return the seconds that it was blocked."""
        (pod,) = self.workload.pods(2, number + 1)[-1:]
        night = self.workload.night
        with tempfile.TemporaryDirectory(prefix="pod-") as folder:
            artifacts = write_outputs(pod, Path(folder))
            started = time.perf_counter()
            if mode := _WAYS[way]:
                self.clients[mode].transfer(pod.records, artifacts)
            else:
                root = ResourcePath(str(self.root), forceDirectory=True)
                copies = [(each.source, root.join(each.path)) for each in artifacts]
                ResourcePath.mtransfer("copy", copies, overwrite=True)
                self.writer.write([encode_event(event_of(pod))])
                self.chains.ensure([(night.chain, run) for run in night.runs])
            return time.perf_counter() - started


_pod: _Pod


def _begin(workload: Workload, repository: Repository, bootstrap: str, staging: str) -> None:
    """Create the pod of this process."""
    global _pod  # noqa: PLW0603 - a process of a pool can keep it only in a global
    butler = repository.plain_butler()
    topic = KafkaTopic({"bootstrap.servers": bootstrap}, _TOPIC)
    roots = {Mode.FINAL: str(workload.root), Mode.STAGING: staging}
    _pod = _Pod(
        workload,
        workload.root,
        PeerWriter(butler),
        ChainKeeper(butler),
        {mode: PromptOutputWriter(topic, root, mode=mode) for mode, root in roots.items()},
    )


def _transfer(way: str, number: int) -> float:
    return _pod.transfer(way, number)


def run(*, quick: bool) -> Result:
    """Compare for a single pod, and for many pods that end at the same time."""
    result = Result("transfer")
    table = Table(["pods at once", *(f"{way}, {p} (ms)" for way in _WAYS for p in ("p50", "p99"))])
    with (
        Repositories() as repositories,
        ApacheKafka() as kafka,
        tempfile.TemporaryDirectory(prefix="staging-") as staging,
    ):
        kafka.create_topic(_TOPIC, max_message_bytes=11 * 2**20)
        workload = repositories.workload(MOST_DATASETS)
        for pods in (1, 8) if quick else (1, 32):
            with repositories.copy() as repository:
                begin = partial(_begin, workload, repository, kafka.bootstrap, staging)
                seconds = _blocked(begin, pods)
            table.add(
                pods,
                *(
                    f"{1000 * value:.1f}"
                    for values in seconds.values()
                    for value in (median(values), quantile(values, 0.99))
                ),
            )
            result.raw[f"{pods} pods"] = seconds
    result.tables.append(table)
    return result


def _blocked(begin: partial[None], pods: int) -> dict[str, list[float]]:
    """Make pods transfer at the same time, in each way in turn; return their seconds."""
    numbers = count()
    seconds: dict[str, list[float]] = {way: [] for way in _WAYS}
    with multiprocessing.get_context("fork").Pool(pods, initializer=begin) as pool:
        for round_number in range(_ROUNDS + 1):
            for way in _WAYS:
                tasks = [(way, next(numbers)) for _ in range(pods)]
                measured = pool.starmap(_transfer, tasks, chunksize=1)
                if round_number:  # the first round warms up
                    seconds[way] += measured
    return seconds
