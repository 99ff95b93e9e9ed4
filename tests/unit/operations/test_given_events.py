"""What commands read of events: as much as a worker would, and no more."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from app.butler.events.limits import EventLimits
from app.kafka.readers import Message
from app.operations import named_files
from app.operations.audit import Finding, _Judge
from app.operations.event_presence import GivenEvent, chunks_of, datasets_of
from app.operations.named_files import NamedFiles
from tests.support.events import Night, dataset_ids
from tests.unit.operations.test_audit import NoDataset

LIMITS = EventLimits()
MIB = 2**20

EMPTY_OBJECTS = (
    b'{"type":"pp-output","dimension_records":[],"datasets":[' + b"{}," * 3_300_000 + b"1]}"
)


def with_refs(**refs: list[dict[str, str]]) -> bytes:
    datasets = [
        {"path": "a", "refs": {f"{n:032x}": ref for n, ref in enumerate(given)}}
        for given in refs.values()
    ]
    return orjson.dumps({"type": "pp-output", "dimension_records": [], "datasets": datasets})


def test_the_datasets_of_a_pods_event_are_found() -> None:
    event = Night().event(1)
    given = datasets_of(orjson.dumps(event), LIMITS)
    assert given.datasets is not None
    assert {*given.datasets} == {str(i) for i in dataset_ids(event)}


@pytest.mark.parametrize("value", [None, b"", b"17", b"{}", b'{"type":"pp-output"}', b"\xff"])
def test_what_is_no_event_has_no_datasets(value: bytes | None) -> None:
    assert datasets_of(value, LIMITS) == GivenEvent()


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        (EMPTY_OBJECTS, "MAX_JSON_VALUES"),
        (with_refs(a=[{"run": f"r{n}"} for n in range(101)]), "MAX_RUNS"),
        (with_refs(a=[{"dataset_type_name": f"t{n}"} for n in range(1001)]), "MAX_DATASET_TYPES"),
        (with_refs(a=[{}] * 22_001), "MAX_DATASETS"),
    ],
    ids=["values", "runs", "types", "datasets"],
)
def test_an_event_that_a_worker_refuses_is_named_and_costs_little(value: bytes, limit: str) -> None:
    tracemalloc.start()
    started = time.process_time()
    given = datasets_of(value, LIMITS)
    seconds = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert given.datasets is None
    assert f"(BUTLER_WRITER_{limit})" in given.excess
    assert seconds < 1.0
    assert peak < 40 * MIB


def test_an_audit_says_why_it_has_not_looked_up_an_event() -> None:
    presence: Any = NoDataset()
    messages = [Message(0, n, 0, None, value, {}) for n, value in enumerate([EMPTY_OBJECTS, b"{}"])]
    large, bad = _Judge(presence, {}, {0: 6}, None).audit(messages)
    assert (large.finding, bad.finding) == (Finding.MISSING, Finding.MISSING)
    assert "more than the limit of 500000 (BUTLER_WRITER_MAX_JSON_VALUES)" in large.reason
    assert bad.reason == ""


async def test_a_chunk_has_a_bounded_number_of_events_and_of_bytes() -> None:
    async def values() -> AsyncIterator[bytes | None]:
        for value in (None, b"", b"a", b"b" * 7 * MIB, b"c" * 2 * MIB, b"d" * 10 * MIB, b"e"):
            yield value

    chunks = [chunk async for chunk in chunks_of(values(), 3, lambda value: value)]
    assert [[(value or b"")[:1] for value in chunk] for chunk in chunks] == [
        [b"", b"", b"a"],
        [b"b", b"c"],
        [b"d"],
        [b"e"],
    ]


@pytest.mark.parametrize("padding", ["", "NaN,", "{}," * 600_000], ids=["usual", "nan", "large"])
def test_the_files_of_an_event_are_known_even_if_it_is_over_a_limit(padding: str) -> None:
    """Whoever raises the limit may replay it: its files must not be taken for leftovers."""
    event = Night().event(1)
    event["datasets"][0]["path"] = 'a "quoted" path/\u00fc.json'
    event["datasets"][1]["path"] = "a%20b/c%20d.json"
    text = orjson.dumps(event | {"staging": "s"}).decode()
    value = (text[:-1] + f',"other":[{padding}1]}}').encode()
    paths = [file["path"] for file in event["datasets"]]
    names = {"\u00fc.json", "c d.json", *(path.rpartition("/")[2] for path in paths[2:])}
    named = NamedFiles.of(value, LIMITS, names)
    assert [*named.paths] == paths
    assert (named.staging, named.is_known) == ((None, False) if len(padding) > 9 else ("s", True))


def test_a_harmful_event_is_only_searched_for_files(monkeypatch: pytest.MonkeyPatch) -> None:
    event = Night().event(1)
    value, paths = orjson.dumps(event), [file["path"] for file in event["datasets"]]
    names = {path.rpartition("/")[2] for path in paths}
    monkeypatch.setattr(named_files, "load_json", None)
    named = NamedFiles.of(value, LIMITS, names, is_harmful=True)
    assert [*named.paths] == paths
    assert not named.is_known


@pytest.mark.parametrize(
    "part",
    [b'"path":"x",', b'"path":"', b'"path":"\\', b'"path":"' + b"\\\\" * 50_000 + b'",'],
    ids=["many", "unclosed", "escaped", "long"],
)
def test_a_hostile_event_is_searched_in_little_time_and_memory(part: bytes) -> None:
    value = b"{}," * 500_001 + part * (8_000_000 // len(part))
    tracemalloc.start()
    started = time.process_time()
    named = NamedFiles.of(value, LIMITS, {"a.json"})
    assert [*named.paths] == []
    seconds = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 10.0
    assert peak < 40 * MIB
