"""The memory of parsed events, in proportion to the bytes that are held of them.

Windows and what is held are limited by the bytes of messages.  What is made of them takes more: how
many times more is bounded here, so that a window of any accepted events fits (docs/limits.md).
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from uuid import UUID

import pytest

from agents.decoded_events import DecodedEvents
from app.butler.events.parsed import ParsedEvent
from app.butler.policy import FileCheck
from app.intake.ledger import Entry
from app.intake.received import Received
from app.intake.windows import Arrival
from tests.support.events import DETECTORS, Night, encode
from tests.support.repositories import Repository

Event: TypeAlias = dict[str, Any]

#: The most memory that parsed events take, for each byte of their messages.
LARGEST_FACTOR = 9.0

MIB = 2**20


def pods(night: Night) -> Iterator[Event]:
    for n in range(189):
        yield night.event(1 + n // DETECTORS, n % DETECTORS)


def _refs(event: Event, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield refs with the shortest texts: each has a data ID of its own."""
    (ref,) = event["datasets"][0]["refs"].values()
    for n in range(number):
        data_id = ref["data_id"] | {"detector": n}
        yield f"{UUID(int=n + 1).hex}", {**ref, "run": "u", "data_id": data_id}


def datasets(night: Night) -> Iterator[Event]:
    for visit in (1, 2):
        event = night.event(visit)
        yield event | {"datasets": [{"refs": dict(_refs(event, 4000)), "path": "u/a"}]}


def files(night: Night) -> Iterator[Event]:
    for visit in (1, 2):
        event = night.event(visit)
        refs = _refs(event, 4000)
        yield event | {
            "datasets": [{"refs": {i: ref}, "path": f"u/{n}"} for n, (i, ref) in enumerate(refs)]
        }


def groups(night: Night) -> Iterator[Event]:
    for visit in range(1, 5):
        event = night.event(visit)
        given = next(g for g in event["dimension_records"] if g["definition"] == "group")
        record = given["record"]
        event["dimension_records"] += [
            {"definition": "group", "record": {"instrument": record["instrument"], "name": f"{n}"}}
            for n in range(visit * 10_000, visit * 10_000 + 2000)
        ]
        yield event


@pytest.mark.parametrize("events", [pods, datasets, files, groups])
def test_parsed_events_take_a_bounded_number_of_times_their_bytes(
    sqlite_repository: Repository, events: Callable[[Night], Iterator[Event]]
) -> None:
    writer = sqlite_repository.writer(file_check=FileCheck.NONE, paths_below_run=False)
    values = [encode(event) for event in events(sqlite_repository.night())]
    arrivals = [
        Arrival(Entry(("pp-output", 0), n, len(value), 1, list), Received(None, value))
        for n, value in enumerate(values)
    ]
    gc.collect()
    tracemalloc.start()
    prepared = writer.prepare(DecodedEvents(arrivals, 10 * MIB), is_current=lambda: True)
    gc.collect()
    taken, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for event in prepared.values():
        assert isinstance(event, ParsedEvent), event
    size = sum(map(len, values))
    print(f"{events.__name__}: {size} bytes, {taken / size:.1f} times, {peak / size:.1f} at most")
    assert taken < LARGEST_FACTOR * size
