"""Read hostile messages in a process of its own, since some may end it.

What a worker reads as an event is decoded and prepared, and decoded as commands do.  Batches,
letters and records of chains are read as their readers do.

``python -m tests.support.fuzzing REPOSITORY FOLDER SEED NUMBER`` writes each message to a file in
the folder before it is used, and prints what became of all of them as JSON.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.structs import TopicPartition
from lsst.daf.butler import CollectionType
from lsst.resources import ResourcePath

from agents.chain_table import ChainTable
from agents.decoded_events import DecodedEvents
from app import COLLECTOR_THRESHOLDS
from app.butler.events.limits import EventLimits
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import Failure
from app.butler.outcome import Rejection
from app.butler.writer import ButlerWriter
from app.intake.ledger import Entry
from app.intake.received import Received, Undecodable
from app.intake.windows import Arrival
from app.kafka.private.undecodable import TolerantRecords
from app.kafka.readers import Message
from app.operations.event_presence import datasets_of
from app.operations.named_files import NamedFiles
from app.operations.pages.letters.detail import _as_text
from app.operations.pages.letters.documents import letter_document
from app.operations.stored_letters import stored_letter
from app.printable import printable
from models.causes import Cause
from models.dead_letter import DeadLetter, replays_of
from models.errors import CausedError
from testbed.worker import CHECKOUT
from tests.support.events import encode
from tests.support.hostile import hostile
from tests.support.hostile_messages import OPERATORS_CHAIN, Destination, Sent, make_large_batches
from tests.support.repositories import Repository

__all__ = ["Findings", "fuzz"]

#: The most processor time that decoding and preparing a message may take, in seconds.
LONGEST = 1.0

#: How much the process may grow: the largest message, twice, and what is made of it.
LARGEST_GROWTH = 200 * 2**20

#: How many messages are read at once: those of a window have much in common.
_WINDOW = 40

#: One of so many events is read as commands do, too.
_SAMPLE = 4

#: The most bytes of the headers of a dead letter.
_LARGEST_HEADERS = 16_384

#: What becomes of messages that are not refused.
_OTHERS = ("accepted", "passed over")

#: As the service's default.
_LARGEST = 10 * 2**20

_LAST = "last-message"


@dataclass
class Findings:
    """What became of hostile messages.

    Attributes
    ----------
    slowest : `float`
        The most processor time that reading one of them took, in seconds; or some together, if that
        was little.
    slowest_kind : `str`
        Its number and its kind.
    peak_growth : `int`
        How much the process has grown at its largest, in bytes.
    kinds : `dict` [`str`, `int`]
        How many there were of each kind.
    causes : `dict` [`str`, `int`]
        How many were refused with each cause; ``accepted`` counts other events, ``passed over``
        messages that are none.
    unclassified : `list` [`str`]
        Those that were neither accepted nor refused, each with its number and the error.
    """

    slowest: float = 0.0
    slowest_kind: str = ""
    peak_growth: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
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
    repository.butler().collections.register(OPERATORS_CHAIN, CollectionType.CHAINED)
    reader = _Reader(writer)
    night = repository.night("u/fuzz")
    event = night.event(1)
    event["datasets"] = [event["datasets"][n] for n in (0, 3, 8)]
    reader.read([Sent(Destination.INPUT, encode(event))])  # what is slow only once
    ResourcePath("s3://bucket/key")  # imports boto3
    make_large_batches()
    findings, kinds, causes = Findings(), Counter[str](), Counter[str]()
    size = _peak()
    encoded = encode(event)
    for start in range(0, number, _WINDOW):
        names = range(start, min(start + _WINDOW, number))
        made = [hostile(encoded, Random(f"{seed}/{n}")) for n in names]
        (folder / _LAST).write_bytes(b"\n".join(message.value or b"" for _, message in made))
        kinds.update(kind for kind, _ in made)
        seconds, outcomes = _timed(reader, [message for _, message in made])
        slowest = f"{seed}/{start} to {names[-1]} together"
        if seconds > LONGEST / 4 or not {*Cause, *_OTHERS}.issuperset(outcomes):
            # One of them may take that long, or disturb the others.
            alone = [_timed_alone(reader, message) for _, message in made]
            for n, (_, message) in enumerate(made):
                if alone[n][0] > LONGEST:  # it may be others that use the processor's caches
                    alone[n] = min(_timed_alone(reader, message) for _ in range(3))
            outcomes = [outcome for _, outcome in alone]
            n = max(range(len(alone)), key=lambda n: alone[n][0])
            seconds, slowest = alone[n][0], f"{seed}/{names[n]} {made[n][0]}"
        if seconds > findings.slowest:
            findings.slowest, findings.slowest_kind = seconds, slowest
        for n, (kind, _), outcome in zip(names, made, outcomes, strict=True):
            if outcome in (*Cause, *_OTHERS):
                causes[outcome] += 1
            else:
                findings.unclassified.append(f"{seed}/{n} {kind}: {outcome:.300}")
    findings.kinds, findings.causes = dict(kinds), dict(causes)
    findings.peak_growth = _peak() - size
    return findings


def _timed(reader: _Reader, messages: Sequence[Sent]) -> tuple[float, list[str]]:
    started = time.process_time()
    outcomes = reader.read(messages, sample=_SAMPLE)
    return time.process_time() - started, outcomes


def _timed_alone(reader: _Reader, message: Sent) -> tuple[float, str]:
    """Return for how long a worker or a command reads a message, whichever takes longer."""
    started = time.process_time()
    (outcome,) = reader.read([message])
    between = time.process_time()
    error = reader.read_as_commands_do(message)
    return max(between - started, time.process_time() - between), error or outcome


class _Reader:
    """Reads messages as those do that get them.

    Parameters
    ----------
    writer : `ButlerWriter`
        Prepares events.
    """

    def __init__(self, writer: ButlerWriter) -> None:
        self._writer = writer
        table: Any = SimpleNamespace(data={})
        self._chains = ChainTable(table, changelog=SimpleNamespace())  # type: ignore[arg-type]
        self._readers: dict[Destination, Callable[[Sent], object]] = {
            Destination.LETTERS: self._letter,
            Destination.UPDATES: self._update,
            Destination.CHANGELOG: self._record,
        }

    def read(self, messages: Sequence[Sent], sample: int = 0) -> list[str]:
        """Return what becomes of each message: a cause, one of `_OTHERS`, or an error.

        The events are prepared in one window.

        Parameters
        ----------
        messages : `~collections.abc.Sequence` [`Sent`]
            The messages.
        sample : `int`, optional
            One of so many is also read as commands do.
        """
        outcomes: dict[int, list[str]] = {n: [] for n in range(len(messages))}
        arrivals: dict[Arrival[Received], int] = {}
        for n, message in enumerate(messages):
            try:
                for received in self._received(message):
                    if sample and n % sample == 0:
                        _read_as_commands_do(received)
                    arrivals[_arrival(received, len(arrivals))] = n
            except Exception as exc:  # noqa: BLE001 - each is a finding
                outcomes[n].append(f"{type(exc).__name__}: {exc}")
        try:
            for arrival, outcome in self._outcomes([*arrivals]):
                outcomes[arrivals[arrival]].append(outcome)
        except Exception as exc:  # noqa: BLE001 - each is a finding
            return [f"{type(exc).__name__}: {exc}"] * len(messages)
        known = {*Cause, *_OTHERS}
        return [
            next((each for each in found if each not in known), (found or ["passed over"])[-1])
            for found in outcomes.values()
        ]

    def read_as_commands_do(self, message: Sent) -> str | None:
        """Read a message as commands do; return the error if there is one."""
        try:
            for received in self._received(message):
                _read_as_commands_do(received)
        except Exception as exc:  # noqa: BLE001 - each is a finding
            return f"{type(exc).__name__}: {exc}"
        return None

    def _received(self, message: Sent) -> Iterator[Received]:
        """Yield the messages of the input topic, and read others."""
        if message.to is Destination.INPUT:
            yield Received(message.key, message.value, message.headers)
        elif message.to is Destination.BATCH:
            data = TolerantRecords(message.value or b"")
            partition = TopicPartition("pp-output", 0)
            for record in PartitionRecords(partition, data, [], 0, None, None, True, 1):
                value, headers, refused = record.value, dict(record.headers or ()), None
                if isinstance(value, Undecodable):
                    refused = CausedError(Cause.UNDECODABLE_MESSAGE, value.reason)
                yield Received(record.key, value, headers, refused)
        else:
            self._readers[message.to](message)

    def _outcomes(
        self, arrivals: Sequence[Arrival[Received]]
    ) -> Iterator[tuple[Arrival[Received], str]]:
        events = DecodedEvents(arrivals, _LARGEST)
        prepared = self._writer.prepare(events, is_current=lambda: True)
        for arrival, rejection in events.rejected.items():
            yield arrival, _refused(rejection)
        for arrival, event in prepared.items():
            if isinstance(event, ParsedEvent):
                yield arrival, "accepted"
            elif event.failure is Failure.REJECT:
                yield arrival, _refused(event.rejection)
            else:
                yield arrival, f"{event.failure}: {event.rejection}"

    def _letter(self, message: Sent) -> None:
        headers = {**message.headers}
        stored = stored_letter(Message(0, 0, 0, message.key, message.value, headers))
        if stored is not None:
            letter_document(stored)
            _as_text(message.value or b"")
            _check_printable(" ".join(map(str, stored.letter.asdict().values())))
            hash(stored.digest)

    def _update(self, message: Sent) -> None:
        with suppress(Exception):  # as the agent does
            self._chains.receive(message.value)

    def _record(self, message: Sent) -> None:
        self._chains._apply({message.key or b"": message.value})


def _read_as_commands_do(received: Received) -> None:
    replays_of(received.headers)
    datasets_of(received.value, EventLimits())
    with suppress(ValueError, TypeError, LookupError, AttributeError):
        [*NamedFiles.of(received.value, EventLimits(), {"x"}).paths]


def _arrival(received: Received, offset: int) -> Arrival[Received]:
    entry = Entry(("pp-output", 0), offset, len(received.value or b""), 1, list)
    return Arrival(entry, received)


def _refused(rejection: Rejection) -> str:
    letter = DeadLetter.of(("pp-output", 0), 0, rejection.cause, rejection.reason)
    assert sum(map(len, letter.headers().values())) < _LARGEST_HEADERS
    _check_printable(letter.reason)
    return rejection.cause.value


def _check_printable(text: str) -> None:
    assert printable(text).isprintable(), f"{printable(text)!a} would be printed"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    gc.set_threshold(*COLLECTOR_THRESHOLDS)  # as a worker
    repository, folder, seed, number = sys.argv[1:]
    found = _run(Path(repository), Path(folder), int(seed), int(number))
    print(json.dumps(asdict(found)))
