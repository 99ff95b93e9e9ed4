"""No message can stop, fill or fool a worker: each line is sent to one worker in 1 GiB."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import CollectionType

from testbed.cluster import Cluster
from testbed.control_groups import memory_group
from testbed.document import insert
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.acceptance.hostile.lines import LINES, OPERATORS_CHAIN, Line
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import check_all_written
from tests.support.memory import MIB
from tests.support.raw_batches import send_batches

POD = 1024 * MIB


@dataclass
class Outcome:
    """What became of a line."""

    line: Line
    seconds: float = 0.0
    peak: int = 0
    silence: float = 0.0
    ends: int = 0
    causes: Counter[str] = field(default_factory=Counter)

    def row(self) -> str:
        """Return the row of the table."""
        causes = ", ".join(f"{number} `{cause}`" for cause, number in self.causes.items())
        cells = (f"{self.seconds:.1f}", f"{self.peak / MIB:.0f}", f"{self.silence:.1f}")
        return f"| {self.line.name} | {causes} | {' | '.join(cells)} |"


def peak(worker: Worker) -> int:
    """Return the largest resident size of a worker since it was reset, in bytes."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found is not None else 0


@contextmanager
def probes(worker: Worker, outcome: Outcome) -> Iterator[None]:
    """Ask ``/livez`` again and again, and note the longest time without an answer."""
    is_over = threading.Event()

    def probe() -> None:
        answered = time.monotonic()
        while not is_over.wait(0.2):
            is_alive = worker.status("/livez") == 200
            outcome.silence = max(outcome.silence, time.monotonic() - answered)
            answered = time.monotonic() if is_alive else answered

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def wait_done(deployment: Deployment, worker: Worker, outcome: Outcome) -> None:
    """Wait until everything is finished; start the worker again if it ends."""
    end = sum(deployment.cluster.end_offsets(deployment.topic).values())

    def is_done() -> bool:
        if worker.process.returncode is not None:
            outcome.ends += 1
            worker.start()
        return deployment.committed() >= end

    wait_until(is_done, 300, lambda: f"{outcome.line.name}: {deployment.committed()} of {end}")


def letters(deployment: Deployment) -> Counter[str]:
    """Return the number of letters of each cause."""
    return Counter(
        dict(letter.headers)["error_class"].decode() for letter in deployment.dead_letters()
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_each_message_ends_in_dead_letters_and_the_events_around_it_are_written(
    kafka: Cluster,
    topic_name: str,
    postgresql_url: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    deployment = Deployment(kafka, topic_name, tmp_path, database=postgresql_url)
    deployment.butler.collections.register(OPERATORS_CHAIN, CollectionType.CHAINED)
    night = Night(deployment.root)
    good: list[dict[str, Any]] = []
    outcomes: list[Outcome] = []
    before: Counter[str] = Counter()
    with memory_group(POD) as pod, deployment.worker() as worker:
        if pod is not None:
            pod.add(worker)
        worker.wait_ready()
        for number, line in enumerate(LINES, 1):
            outcome = Outcome(line)
            outcomes.append(outcome)
            around = [night.event(number, detector) for detector in (0, 1)]
            Path(f"/proc/{worker.process.pid}/clear_refs").write_text("5")  # a new peak
            started = time.monotonic()
            with probes(worker, outcome):
                deployment.send(around[0])
                send_batches(kafka.bootstrap, topic_name, line.batches(night.event(number, 2)))
                deployment.send(around[1])
                wait_done(deployment, worker, outcome)
            outcome.seconds = time.monotonic() - started
            outcome.peak = peak(worker)
            found = letters(deployment)
            outcome.causes, before = found - before, found
            good += around
    if path := request.config.getoption("--hostile"):
        write(path, outcomes, is_limited=pod is not None)
    for outcome in outcomes:
        assert outcome.ends == 0, outcome
        assert outcome.causes.total() == outcome.line.letters, outcome
        assert outcome.silence < 5, outcome
        assert outcome.peak < POD, outcome
    check_all_written(deployment, good, dead_letters=sum(line.letters for line in LINES))


def write(path: Path, outcomes: list[Outcome], *, is_limited: bool) -> None:
    """Write the table into a document."""
    limit = "in a control group of 1 GiB" if is_limited else "without a limit on its memory"
    lines = [
        f"One worker, {limit}:",
        "",
        "| what is sent | dead letters | seconds | peak, MiB | `/livez` silent for, s |",
        "|---|---|---:|---:|---:|",
        *(outcome.row() for outcome in outcomes),
    ]
    path.write_text(insert(path.read_text(), "hostile", "\n".join(lines)))
