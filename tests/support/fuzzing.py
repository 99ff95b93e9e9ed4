"""Decode and prepare hostile messages in a process of its own, since some may end it.

``python -m tests.support.fuzzing REPOSITORY FOLDER SEED NUMBER`` writes each message to a file in
the folder before it is used, and prints what became of all of them as JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

from lsst.resources import ResourcePath

from agents.decoded_events import DecodedEvents
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import Failure
from app.butler.writer import ButlerWriter
from app.intake.ledger import Entry
from app.intake.received import Received
from app.intake.windows import Arrival
from models.causes import Cause
from testbed.worker import CHECKOUT
from tests.support.events import encode
from tests.support.hostile import hostile
from tests.support.repositories import Repository

__all__ = ["Findings", "fuzz"]

#: The most processor time that decoding and preparing a message may take, in seconds.
LONGEST = 1.0

#: How much the process may grow: the largest message, twice, and what is made of it.
LARGEST_GROWTH = 200 * 2**20

#: As the service's default.
_LARGEST = 10 * 2**20

_LAST = "last-message"


@dataclass
class Findings:
    """What became of hostile messages.

    Attributes
    ----------
    slowest : `float`
        The most processor time that decoding and preparing one of them took, in seconds.
    slowest_kind : `str`
        Its kind.
    peak_growth : `int`
        How much the process has grown at its largest, in bytes.
    causes : `dict` [`str`, `int`]
        How many were refused with each cause; ``accepted`` counts the others.
    unclassified : `list` [`str`]
        Those that were neither accepted nor refused, each with its number and the error.
    """

    slowest: float = 0.0
    slowest_kind: str = ""
    peak_growth: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    unclassified: list[str] = field(default_factory=list)

    def check(self, number: int) -> None:
        """Check that a number of messages did no harm."""
        assert self.unclassified == []
        assert self.slowest < LONGEST, self.slowest_kind
        assert self.peak_growth < LARGEST_GROWTH
        accepted = self.causes["accepted"]
        assert 0 < accepted < number / 2
        assert sum(self.causes.values()) == number


def fuzz(root: Path, folder: Path, seed: int, number: int) -> Findings:
    """Decode and prepare hostile messages in a process.

    Parameters
    ----------
    root : `pathlib.Path`
        The repository.
    folder : `pathlib.Path`
        Gets the message at which the process has ended, if it has.
    seed, number : `int`
        Which messages, and how many.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(root), str(folder), str(seed), str(number)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    last = folder / _LAST
    assert done.returncode == 0, f"exit code {done.returncode} at {last}: {done.stderr[-2000:]}"
    return Findings(**json.loads(done.stdout.splitlines()[-1]))


def _run(root: Path, folder: Path, seed: int, number: int) -> Findings:
    repository = Repository(root)
    writer = repository.writer()
    night = repository.night("u/fuzz")
    event = night.event(1)
    event["datasets"] = [event["datasets"][n] for n in (0, 3, 8)]
    findings, causes = Findings(), Counter[str]()
    _prepare(writer, encode(event))  # what is slow only once
    ResourcePath("s3://bucket/key")  # imports boto3
    size = _peak()
    for n in range(number):
        kind, value = hostile(event, Random(f"{seed}/{n}"))
        (folder / _LAST).write_bytes(value)
        started = time.process_time()
        try:
            outcome = _prepare(writer, value)
        except Exception as exc:  # noqa: BLE001 - each is a finding
            outcome = f"{type(exc).__name__}: {exc}"
        seconds = time.process_time() - started
        if seconds > findings.slowest:
            findings.slowest, findings.slowest_kind = seconds, kind
        if outcome in (*Cause, "accepted"):
            causes[outcome] += 1
        else:
            findings.unclassified.append(f"{seed}/{n} {kind}: {outcome:.300}")
    findings.causes = dict(causes)
    findings.peak_growth = _peak() - size
    return findings


def _prepare(writer: ButlerWriter, value: bytes) -> str:
    entry = Entry(("pp-output", 0), 0, len(value), 1, list)
    events = DecodedEvents([Arrival(entry, Received(None, value))], _LARGEST)
    prepared = writer.prepare(events, is_current=lambda: True)
    if events.rejected:
        (rejection,) = events.rejected.values()
        return rejection.cause.value
    (event,) = prepared.values()
    if isinstance(event, ParsedEvent):
        return "accepted"
    if event.failure is not Failure.REJECT:
        return f"{event.failure}: {event.rejection}"
    return event.rejection.cause.value


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    repository, folder, seed, number = sys.argv[1:]
    found = _run(Path(repository), Path(folder), int(seed), int(number))
    print(json.dumps(asdict(found)))
