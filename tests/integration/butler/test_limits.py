"""What an event may have: at the limit it is prepared in little time, beyond it is refused."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

import pytest

from agents.decoded_events import DecodedEvents
from app.butler.events.limits import EventLimits
from app.butler.events.parsed import ParsedEvent
from app.butler.outcome import Failed, Rejection
from app.butler.policy import FileCheck
from app.butler.writer import ButlerWriter
from app.intake.ledger import Entry
from app.intake.received import Received
from app.intake.windows import Arrival
from models.causes import Cause
from testbed.writing import write_window
from tests.support.events import DETECTORS, INSTRUMENT, dataset_ids, encode
from tests.support.faulty_writes import changed
from tests.support.hostile import colliding_ids, colliding_values
from tests.support.regions import circle
from tests.support.repositories import Repository, decoded, rejection, written

Event: TypeAlias = dict[str, Any]

LIMITS = EventLimits()

#: The most processor time that decoding and preparing an event may take, in seconds: twice what it
#: is to take, since other processes may share the processor's caches.
LONGEST = 2.0


def prepared(
    writer: ButlerWriter, value: bytes, **message: Any
) -> tuple[ParsedEvent | Rejection, float]:
    """Decode and prepare an event as a worker does; return how much processor time it took."""
    received = Received(message.get("key"), value, message.get("headers", {}))
    entry = Entry(("pp-output", 0), 0, len(value), 1, list)
    events = DecodedEvents([Arrival(entry, received)], 10 * 2**20)
    started = time.process_time()
    outcomes = [
        *writer.prepare(events, is_current=lambda: True).values(),
        *events.rejected.values(),
    ]
    seconds = time.process_time() - started
    (outcome,) = outcomes
    return outcome.rejection if isinstance(outcome, Failed) else outcome, seconds


def with_files(event: Event, number: int) -> Event:
    """Return an event with a number of files of one dataset, all with different data IDs."""
    file = event["datasets"][3]
    (ref,) = file["refs"].values()
    event["datasets"] = [
        {
            "refs": {str(UUID(int=n + 1)): {**ref, "data_id": ref["data_id"] | {"detector": n}}},
            "path": f"u/{n}.json",
            "formatter": file["formatter"],
        }
        for n in range(number)
    ]
    return event


def with_refs(event: Event, number: int) -> Event:
    """Return an event with a number of datasets in one file."""
    with_files(event, number)
    refs = {key: ref for file in event["datasets"] for key, ref in file["refs"].items()}
    event["datasets"] = [{**event["datasets"][0], "refs": refs}]
    return event


def with_runs(event: Event, number: int) -> Event:
    for n, file in enumerate(with_files(event, number)["datasets"]):
        for ref in file["refs"].values():
            ref["run"] = f"u/run/{n}"
    return event


def with_records(event: Event, number: int) -> Event:
    """Return an event with a number of dimension records, with regions as far as is allowed."""
    own = [r for r in event["dimension_records"] if r["definition"] == "visit_detector_region"]
    for n in range(number - len(event["dimension_records"])):
        given = own[0]
        event["dimension_records"].append(
            {**given, "record": given["record"] | {"detector": 100 + n}}
        )
    return event


def with_dataset_types(event: Event, number: int) -> Event:
    kinds = [("visit", "detector"), ("exposure",), ("instrument", "physical_filter")]
    event["dataset_types"] = [
        {"name": f"t{n}", "storageClass": "StructuredDataDict", "dimensions": [*kinds[n % 3]]}
        for n in range(number)
    ]
    return event


def with_fields(event: Event, number: int) -> Event:
    visit = next(r["record"] for r in event["dimension_records"] if r["definition"] == "visit")
    inside = sum(len(value) for value in visit.values() if isinstance(value, list))
    others = len(visit) - 1 + inside  # the region is not among them
    visit.update({f"other{n}": n for n in range(number - others)})
    return event


def nested(event: Event, levels: int) -> Event:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return changed(event, "visit", other=value)


def with_name(event: Event, length: int) -> Event:
    for file in event["datasets"]:
        for ref in file["refs"].values():
            ref["run"] = "r" * length
    return event


def with_path(event: Event, length: int) -> Event:
    event["datasets"][0]["path"] = "p" * length
    return event


def with_members(event: Event, number: int) -> Event:
    member = circle(0.1).encode()
    encoded = b"u" + number * (len(member).to_bytes(8, "little") + member)
    return changed(event, "visit", region=encoded.hex())


#: For each limit, what makes an event that has so many.
MAKERS: dict[str, Callable[[Event, int], Event]] = {
    "max_files": with_files,
    "max_datasets": with_refs,
    "max_runs": with_runs,
    "max_chain_pairs": lambda event, n: event | {"chains": [f"c/{i}" for i in range(n)]},
    "max_dataset_types": with_dataset_types,
    "max_dimension_records": with_records,
    "max_fields": with_fields,
    "max_nesting": nested,
    "max_name_length": with_name,
    "max_path_length": with_path,
    "max_text_length": lambda event, n: changed(event, "visit", target_name="t" * n),
    "max_region_members": with_members,
}

#: Butler has no use for as many: it refuses what it does not know.
NEVER_NEEDED = {"max_fields", "max_nesting"}

#: The limits that other tests show.
ELSEWHERE = {
    "max_json_values",
    "max_key_bytes",
    "max_header_bytes",
    "max_region_bytes",
    "max_event_region_bytes",
    "max_overlap_rows",
}


@pytest.mark.parametrize("name", MAKERS)
def test_an_event_at_a_limit_is_prepared_and_one_beyond_it_is_refused(
    sqlite_repository: Repository, name: str
) -> None:
    night = sqlite_repository.night()
    writer = sqlite_repository.writer(file_check=FileCheck.NONE, paths_below_run=False)
    limit = getattr(LIMITS, name)
    largest = encode(MAKERS[name](night.event(1), limit))
    outcome, seconds = prepared(writer, largest)
    print(f"{name}: {len(largest)} bytes, {seconds:.3f} s")
    if name in NEVER_NEEDED:
        assert isinstance(outcome, Rejection)
        assert outcome.cause is Cause.INVALID_EVENT
    else:
        assert isinstance(outcome, ParsedEvent), outcome
    assert seconds < LONGEST
    refused, seconds = prepared(writer, encode(MAKERS[name](night.event(1), limit + 1)))
    assert isinstance(refused, Rejection)
    assert refused.cause is Cause.OVER_LIMIT
    assert f"more than the limit of {limit} (BUTLER_WRITER_{name.upper()})" in refused.reason
    assert seconds < LONGEST


def test_every_limit_has_a_test() -> None:
    assert {*MAKERS, *ELSEWHERE} == EventLimits.model_fields.keys()


def test_20000_datasets_and_1000_dimension_records_are_prepared(
    sqlite_repository: Repository,
) -> None:
    event = with_records(with_files(sqlite_repository.night().event(1), 20_000), 1000)
    writer = sqlite_repository.writer(file_check=FileCheck.NONE, paths_below_run=False)
    outcome, seconds = prepared(writer, encode(event))
    assert isinstance(outcome, ParsedEvent), outcome
    assert (len(outcome.artifacts), len(outcome.records)) == (20_000, 1000)
    print(f"{seconds:.3f} s")


@pytest.mark.parametrize(
    ("message", "variable"),
    [
        ({"key": b"k" * (LIMITS.max_key_bytes + 1)}, "BUTLER_WRITER_MAX_KEY_BYTES"),
        ({"headers": {"h": b"x" * LIMITS.max_header_bytes}}, "BUTLER_WRITER_MAX_HEADER_BYTES"),
        ({"headers": {"h" * LIMITS.max_header_bytes: None, "": b"x"}}, "MAX_HEADER_BYTES"),
    ],
)
def test_a_message_with_a_long_key_or_long_headers_is_refused(
    sqlite_repository: Repository, message: dict[str, Any], variable: str
) -> None:
    value = encode(sqlite_repository.night().event(1))
    outcome, _ = prepared(sqlite_repository.writer(paths_below_run=False), value, **message)
    assert isinstance(outcome, Rejection)
    assert outcome.cause is Cause.OVER_LIMIT
    assert variable in outcome.reason


@pytest.mark.parametrize(
    "part", [b"1", b"{}", b"[]", b'{"a":1}', b'{"refs":{"":{}}}'], ids=bytes.decode
)
@pytest.mark.parametrize("name", ["datasets", "dimension_records", "dataset_types", "other"])
def test_a_message_of_many_small_parts_is_refused_before_it_is_decoded(
    sqlite_repository: Repository, name: str, part: bytes
) -> None:
    event = json.dumps(sqlite_repository.night().event(1) | {name: "the mark"}).encode()
    many = event.replace(b'"the mark"', b"[" + b",".join([part] * 600_000) + b"]")
    outcome, seconds = prepared(sqlite_repository.writer(paths_below_run=False), many)
    assert isinstance(outcome, Rejection)
    assert outcome.cause is Cause.OVER_LIMIT
    assert "BUTLER_WRITER_MAX_JSON_VALUES" in outcome.reason
    assert seconds < LONGEST / 8


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("size", 2**63, "is not a number of bytes"),
        ("size", 10**30, "is not a number of bytes"),
        ("checksum", "a" * 129, "is not hexadecimal"),
        ("path", "a\x1b[2Jb", "not printable"),
    ],
)
def test_a_value_of_a_file_that_no_database_takes_is_refused(
    sqlite_repository: Repository, field: str, value: object, words: str
) -> None:
    event = sqlite_repository.night().event(1)
    event["datasets"][0][field] = value
    outcome, _ = prepared(
        sqlite_repository.writer(paths_below_run=False), json.dumps(event).encode()
    )
    assert isinstance(outcome, Rejection)
    assert outcome.cause is Cause.INVALID_EVENT
    assert words in outcome.reason


@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
def test_an_integer_out_of_range_is_refused_before_the_database_sees_it(
    sqlite_repository: Repository, number: int
) -> None:
    night, writer = sqlite_repository.night(), sqlite_repository.writer(paths_below_run=False)
    in_record = changed(night.event(1), "visit", seq_num=number)
    in_data_id = night.event(2)
    for ref in in_data_id["datasets"][0]["refs"].values():
        ref["data_id"]["exposure"] = number
    for event in (in_record, in_data_id):
        outcome, _ = prepared(writer, json.dumps(event).encode())
        assert isinstance(outcome, Rejection)
        assert outcome.cause is Cause.INVALID_EVENT
        assert "out of range" in outcome.reason


@pytest.mark.parametrize("depth", [9, 300, 900])
def test_a_deeply_nested_event_is_refused_wherever_it_is_nested(
    sqlite_repository: Repository, depth: int
) -> None:
    night, writer = sqlite_repository.night(), sqlite_repository.writer(paths_below_run=False)

    def places(event: Event) -> list[tuple[Any, str]]:
        (ref,) = event["datasets"][0]["refs"].values()
        record = event["dimension_records"][0]
        types = with_dataset_types(event, 1)["dataset_types"]
        return [
            (record["record"], "other"),
            (record["record"], "instrument"),
            (record, "record"),
            (ref, "run"),
            (ref, "dataset_type_name"),
            (ref["data_id"], "detector"),
            (event["datasets"][0], "path"),
            (event["datasets"][0], "size"),
            (event["datasets"][0], "formatter"),
            (types[0], "dimensions"),
            (event, "chains"),
        ]

    for n in range(len(places(night.event(1)))):
        event = night.event(1)
        container, key = places(event)[n]
        container[key] = "the mark"
        value = encode(event).replace(b'"the mark"', b"[" * depth + b"]" * depth)
        outcome, _ = prepared(writer, value)
        assert isinstance(outcome, Rejection), key
        assert outcome.cause in (
            Cause.INVALID_EVENT,
            Cause.OVER_LIMIT,
            Cause.UNKNOWN_DATASET_TYPE,
        ), (key, outcome)


@pytest.mark.parametrize("name", ["u/a\nb", "u/\x1b[2J", "u/\u202eb", "u/\u2066b", "u/\u2028"])
def test_a_name_with_a_character_that_is_not_printable_is_refused(
    sqlite_repository: Repository, name: str
) -> None:
    night, writer = sqlite_repository.night(), sqlite_repository.writer(paths_below_run=False)
    events = [
        sqlite_repository.night(run="u/run").event(1),
        night.event(2, chains=[name]),
        with_dataset_types(night.event(3), 1),
    ]
    events[2]["dataset_types"][0]["name"] = name
    for file in events[0]["datasets"]:
        for ref in file["refs"].values():
            ref["run"] = name
    good = night.event(4)
    report = write_window(writer, decoded(*events, good))
    for n, what in enumerate(("run", "chain", "dataset type")):
        refused = rejection(report, n)
        assert refused.cause is Cause.INVALID_EVENT
        assert refused.reason.startswith(f"{what} '")
        assert "which is not printable" in refused.reason
        assert refused.reason.isprintable()
    written(report, 3)


def test_datasets_whose_ids_have_the_same_hash_cost_no_more_than_others(
    sqlite_repository: Repository,
) -> None:
    """With UUIDs as keys of dictionaries, the time would grow with the square of their number."""
    number = 4000
    repository = sqlite_repository
    detectors = [{"instrument": INSTRUMENT, "id": n, "full_name": f"D{n}"} for n in range(number)]
    repository.butler().registry.insertDimensionData("detector", *detectors[DETECTORS:])
    writer = repository.writer(file_check=FileCheck.NONE, paths_below_run=False)
    ids = colliding_ids(number)
    assert len({hash(UUID(i)) for i in ids}) == 1

    def seconds_of(visit: int, ids: Sequence[str]) -> float:
        event = with_refs(repository.night(run=f"u/{visit}").event(visit), number)
        (file,) = event["datasets"]
        file["refs"] = dict(zip(ids, file["refs"].values(), strict=True))
        started = time.process_time()
        for _ in range(2):  # the second time, all are stored
            written(write_window(writer, decoded(event)))
        return time.process_time() - started

    usual = seconds_of(1, [str(UUID(int=n << 80)) for n in range(number)])
    colliding = seconds_of(2, ids)
    print(f"{usual:.3f} s, {colliding:.3f} s")
    assert colliding < 1.5 * usual + LONGEST


@pytest.mark.parametrize("number", [4000])
def test_data_ids_with_the_same_hash_cost_no_more_than_others(
    sqlite_repository: Repository, number: int
) -> None:
    night = sqlite_repository.night()
    writer = sqlite_repository.writer(file_check=FileCheck.NONE, paths_below_run=False)
    event = night.event(1)
    file = event["datasets"][0]
    (ref,) = file["refs"].values()
    kind = sqlite_repository.reader.get_dataset_type(ref["dataset_type_name"])
    instrument, *names = kind.dimensions.required
    values = colliding_values(number, ref["data_id"][instrument])
    assert len({hash((ref["data_id"][instrument], *pair)) for pair in values}) == 1
    file["refs"] = {
        str(UUID(int=n + 1)): {
            **ref,
            "data_id": ref["data_id"] | dict(zip(names, pair, strict=True)),
        }
        for n, pair in enumerate(values)
    }
    good = night.event(2)
    started = time.process_time()
    report = write_window(writer, decoded(event, good))
    seconds = time.process_time() - started
    print(f"{seconds:.3f} s")
    assert rejection(report).cause is Cause.MISSING_DIMENSION_RECORD
    assert sqlite_repository.stored() == Counter(dataset_ids(good))
    assert seconds < 2 * LONGEST
