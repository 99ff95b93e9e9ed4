"""No message can stop, fill or fool a worker: each line is sent to one worker in 1 GiB."""

from __future__ import annotations

import asyncio
import re
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path
from typing import Any

import psycopg
import pytest
from lsst.daf.butler import CollectionType

from app.kafka.connection import KafkaConnection
from app.operations.dead_letters import DeadLetters
from app.settings import KafkaSettings
from models.causes import Cause
from testbed.cluster import Cluster
from testbed.control_groups import memory_group
from testbed.document import insert
from testbed.waiting import wait_until
from testbed.worker import Worker, faust_command
from tests.acceptance.hostile.lines import FORGED, LINES, OPERATORS_CHAIN, Line, Target
from tests.support.deployment import Deployment
from tests.support.events import CHAIN, Night
from tests.support.flow import check_all_written
from tests.support.least_rights import DROP_ROLE, ROLES, use_role
from tests.support.memory import MIB
from tests.support.raw_batches import send_batches

POD = 1024 * MIB

#: The commands that read events and letters.
COMMANDS = ("audit", "dead-letters list", f"leftovers --older-than=1d --folder={CHAIN}")


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
        causes = ", ".join(f"{number} `{cause}`" for cause, number in self.causes.items()) or "none"
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
    """Return the number of letters of each cause, without those that were forged."""
    causes = (dict(each.headers)["error_class"].decode() for each in deployment.dead_letters())
    return Counter(cause for cause in causes if cause != FORGED)


@dataclass
class CommandOutcome:
    """What a command took after all lines."""

    name: str
    printed: str
    exit_code: int
    seconds: float
    peak: int

    def row(self) -> str:
        """Return the row of the table."""
        return f"| `faust -A app {self.name}` | {self.seconds:.1f} | {self.peak / MIB:.0f} |"


def run_command(environment: dict[str, str], name: str) -> CommandOutcome:
    """Run a command; to be called in a process that has no other children."""
    started = time.monotonic()
    done = faust_command(environment, *name.split(), timeout=600)
    seconds = time.monotonic() - started
    size = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return CommandOutcome(name, done.stdout + done.stderr, done.returncode, seconds, size)


def run_commands(deployment: Deployment) -> list[CommandOutcome]:
    """Run the commands that read events, each with a peak of its own."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        return [*pool.map(partial(run_command, deployment.environment), COMMANDS)]


@contextmanager
def least_rights(url: str, repository: Path) -> Iterator[None]:
    """Let those who open the repository log in as the role that has no right to make tables."""
    with psycopg.connect(url) as connection:
        connection.execute(ROLES.encode())
    use_role(repository)
    try:
        yield
    finally:
        with psycopg.connect(url) as connection:
            connection.execute(DROP_ROLE.encode())


def send_line(deployment: Deployment, line: Line, around: Sequence[Any], event: Any) -> None:
    """Send a line, between two events of pods."""
    ((_, offset),) = deployment.send(around[0])
    send_batches(deployment.cluster.bootstrap, deployment.topic, line.batches(event))
    for topic, batches in groupby(
        line.others(Target(deployment.topic, offset + 1, event)), key=itemgetter(0)
    ):
        name = f"{deployment.topic}{topic}"
        send_batches(deployment.cluster.bootstrap, name, (content for _, content in batches))
    deployment.send(around[1])


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
    with (
        least_rights(postgresql_url, deployment.root),
        memory_group(POD) as pod,
        deployment.worker() as worker,
    ):
        if pod is not None:
            pod.add(worker)
        worker.wait_ready(180)
        for number, line in enumerate(LINES, 1):
            outcome = Outcome(line)
            outcomes.append(outcome)
            around = [night.event(number, detector) for detector in (0, 1)]
            Path(f"/proc/{worker.process.pid}/clear_refs").write_text("5")  # a new peak
            started = time.monotonic()
            with probes(worker, outcome):
                send_line(deployment, line, around, night.event(number, 2))
                wait_done(deployment, worker, outcome)
            outcome.seconds = time.monotonic() - started
            outcome.peak = peak(worker)
            found = letters(deployment)
            outcome.causes, before = found - before, found
            good += around
        commands = run_commands(deployment)
        replayed = latest_letters(deployment)
        number = sum(line.letters for line in LINES) + replayed[FORGED]
        check_all_written(deployment, good, dead_letters=number)
    if path := request.config.getoption("--hostile"):
        write(path, outcomes, commands, is_limited=pod is not None)
    for outcome in outcomes:
        assert outcome.ends == 0, outcome
        assert outcome.causes.total() == outcome.line.letters, outcome
        assert outcome.silence < 5, outcome
        assert outcome.peak < POD, outcome
    for command in commands:
        assert command.exit_code == 0, command
        assert command.printed.replace("\n", "").isprintable(), command
        assert command.peak < POD, command
    # A letter that points to an event hides no letter that has it.
    assert (replayed[FORGED], replayed[Cause.MISSING_FILE]) == (6, before[Cause.MISSING_FILE])


def latest_letters(deployment: Deployment) -> dict[str, int]:
    """Return how many letters of each cause would be replayed."""
    settings = KafkaSettings.model_validate(
        {"KAFKA_CLUSTER": deployment.cluster.bootstrap, "KAFKA_TOPIC": deployment.topic}
    )

    async def found() -> list[str]:
        async with DeadLetters(KafkaConnection.of(settings), settings) as stored:
            latest = await stored.latest()
            return [each.letter.error_class async for each in stored.read() if each.id in latest]

    return Counter(asyncio.run(found()))


def write(
    path: Path, outcomes: list[Outcome], commands: list[CommandOutcome], *, is_limited: bool
) -> None:
    """Write the tables into a document."""
    limit = "in a control group of 1 GiB" if is_limited else "without a limit on its memory"
    lines = [
        f"One worker, {limit}:",
        "",
        "| what is sent | dead letters | seconds | peak, MiB | `/livez` silent for, s |",
        "|---|---|---:|---:|---:|",
        *(outcome.row() for outcome in outcomes),
        "",
        "The commands that read all these messages and letters, afterwards:",
        "",
        "| command | seconds | peak, MiB |",
        "|---|---:|---:|",
        *(command.row() for command in commands),
    ]
    path.write_text(insert(path.read_text(), "hostile", "\n".join(lines)))
