"""What is sent: each line is a kind of message that once did harm."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import orjson
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode

from models.dead_letter import POINTS, DeadLetter
from tests.support.hostile import colliding_ids, dumps
from tests.support.raw_batches import RawRecord, batch
from tests.support.regions import circle, nested

__all__ = ["FORGED", "LINES", "OPERATORS_CHAIN", "Line", "Target"]

#: The cause that forged letters name.
FORGED = "forged"

#: A chain that the service has not made.
OPERATORS_CHAIN = "TestCam/defaults"

Event: TypeAlias = dict[str, Any]

_MIB = 2**20


@dataclass(frozen=True)
class Target:
    """What a sender knows.

    Attributes
    ----------
    topic : `str`
        The input topic.
    offset : `int`
        The offset that the first message of the line gets.
    event : `dict`
        A pod's event.
    """

    topic: str
    offset: int
    event: Event


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes
    ----------
    name : `str`
        What is sent, as the document says it.
    batches : `~collections.abc.Callable`
        Makes the batches that are sent, from a pod's event.
    letters : `int`
        How many dead letters there must be.
    others : `~collections.abc.Callable`
        Makes what is sent to other topics meanwhile: what their names end with, and a batch.
    """

    name: str
    batches: Callable[[Event], Iterable[bytes]]
    letters: int = 1
    others: Callable[[Target], Iterable[tuple[str, bytes]]] = lambda _: ()


def _values(
    change: Callable[[Event], Iterable[bytes] | None],
) -> Callable[[Event], Iterator[bytes]]:
    """Return a function that makes a batch of each value, or of the event that was changed."""

    def batches(event: Event) -> Iterator[bytes]:
        changed = deepcopy(event)
        for value in change(changed) or (dumps(changed),):
            yield batch(RawRecord(value))

    return batches


def _region(encoded: bytes, number: int = 1) -> Callable[[Event], None]:
    def change(event: Event) -> None:
        given = next(each for each in event["dimension_records"] if each["record"].get("region"))
        for n in range(number):
            record = given["record"] | {"region": encoded.hex()}
            record |= {"id": n} if n else {}
            event["dimension_records"].append({**given, "record": record})
        event["dimension_records"].remove(given)

    return change


def _refs(event: Event) -> Iterator[dict[str, Any]]:
    return (ref for file in event["datasets"] for ref in file["refs"].values())


def _runs(number: int, chains: int) -> Callable[[Event], None]:
    def change(event: Event) -> None:
        file = event["datasets"][0]
        (ref,) = file["refs"].values()
        event["datasets"] = [
            {**file, "refs": {str(UUID(int=n + 1)): {**ref, "run": f"u/{n}"}}}
            for n in range(number)
        ]
        event["chains"] = [f"c/{n}" for n in range(chains)]

    return change


def _run(name: str) -> Callable[[Event], None]:
    def change(event: Event) -> None:
        event["datasets"] = event["datasets"][:1]
        for ref in _refs(event):
            ref["run"] = name

    return change


def _set(**fields: Any) -> Callable[[Event], None]:
    return lambda event: event.update(fields)


def _of_files(**fields: Any) -> Callable[[Event], None]:
    return lambda event: event["datasets"][0].update(fields)


def _nested_values(event: Event) -> list[bytes]:
    value: Any = 1
    for _ in range(300):
        value = {"a": value}
    event["dimension_records"][0]["record"]["other"] = value
    return [dumps(event)] * 2


def _absent_files(event: Event) -> None:
    (ref,) = event["datasets"][0]["refs"].values()
    folder = event["datasets"][0]["path"].rpartition("/")[0]
    event["datasets"] = [
        {
            **event["datasets"][0],
            "path": f"{folder}/absent{n}.json",
            "refs": {str(UUID(int=n + 1)): ref},
        }
        for n in range(4000)
    ]


def _colliding(event: Event) -> None:
    file = event["datasets"][0]
    (ref,) = file["refs"].values()
    file["refs"] = {name: dict(ref) for name in colliding_ids(20_000)}


def _new_types(event: Event) -> None:
    event["dataset_types"] = [
        {
            "name": f"new{n}",
            "storageClass": "StructuredDataDict",
            "dimensions": ["instrument", "visit", "detector"],
        }
        for n in range(300)
    ]
    file = event["datasets"][0]
    (ref,) = file["refs"].values()
    event["datasets"] = [
        {**file, "refs": {str(UUID(int=n + 1)): ref | {"dataset_type_name": f"new{n}"}}}
        for n in range(300)
    ]


_INSTRUMENT = {
    "visit_max": 9,
    "visit_system": None,
    "exposure_max": 9,
    "detector_max": 9,
    "class_name": "lsst.obs.base.Instrument",
}


def _instruments(event: Event) -> Iterator[bytes]:
    given = next(g for g in event["dimension_records"] if g["definition"] == "group")
    for number in range(30):
        records = [
            {"definition": "instrument", "record": {"name": f"I{number}-{n}", **_INSTRUMENT}}
            for n in range(2000)
        ]
        yield orjson.dumps({**event, "dimension_records": [given, *records]})


def _new_table(event: Event) -> None:
    event["dataset_types"] = [
        {
            "name": "of_a_filter",
            "storageClass": "StructuredDataDict",
            "dimensions": ["instrument", "physical_filter"],
        }
    ]
    event["datasets"] = event["datasets"][:1]
    for ref in _refs(event):
        data_id = {"instrument": ref["data_id"]["instrument"], "physical_filter": "r_57"}
        ref |= {"dataset_type_name": "of_a_filter", "data_id": data_id}


def _lost_file(event: Event) -> None:
    event["datasets"] = event["datasets"][:1]
    event["datasets"][0]["path"] += ".lost"


def _forged_letters(target: Target) -> Iterator[tuple[str, bytes]]:
    """Yield letters that point to the event of the line, and to what does not exist."""
    changed = deepcopy(target.event)
    _lost_file(changed)
    places = [(target.topic, 0, target.offset), (target.topic, 0, 10**18), ("absent", 7, 0)]
    for topic, partition, offset in places:
        for digest in (hashlib.sha256(dumps(changed)).hexdigest(), "0" * 64):
            letter = DeadLetter(topic, partition, offset, FORGED, "", "9999-12-31", 10**9)
            pointer = orjson.loads(letter.pointer(b"")) | {"sha256": digest}
            headers = letter.headers() | {
                POINTS: b"true",
                "reason": b"written, but \x1b]0;forged\a\x1b[2J\xe2\x80\xae",
            }
            yield (
                "-dead-letters",
                batch(
                    RawRecord(
                        orjson.dumps(pointer),
                        headers=[(name.encode(), value) for name, value in headers.items()],
                    )
                ),
            )


def _forged_updates(_: Target) -> Iterator[tuple[str, bytes]]:
    update = {"run": "r", "datasets": 1, "events": 1, "batch_id": "b", "written_at": 1.0}
    for start in range(0, 9000, 500):
        names = [f"forged/{n}/{'c' * 200}" for n in range(start, start + 500)]
        records = [
            RawRecord(orjson.dumps({"chain": name, **update}), key=name.encode()) for name in names
        ]
        yield "-chain-updates", batch(*records, RawRecord(b"[" * 1000), RawRecord(None))


def _bombs(event: Event) -> Iterator[bytes]:
    """Yield batches that are decompressed, since each is below the limit."""
    spaces = [RawRecord(b" " * (10 * _MIB))] * 6
    for codec, compress in ((1, gzip_encode), (3, lz4_encode), (4, zstd_encode)):
        yield batch(*spaces, codec=codec, compress=compress)


#: A polygon whose vertices are the same point.
_POINT = b"p" + bytes.fromhex("000000000000f03f") + b"\0" * 16
_EQUAL_VERTICES = _POINT + _POINT[1:] * 2

LINES = [
    Line(
        "a header whose name is not UTF-8",
        lambda _: [batch(RawRecord(b"{}", headers=[(b"\xff\xfe", b"v")]))],
    ),
    Line("a region that is an ellipse of zeros", _values(_region(b"e" + b"\0" * 112))),
    Line("a region of 60,000 nested unions", _values(_region(nested(60_000)))),
    Line(
        "a run of 1.5 MB for which the chain's pattern was matched again and again",
        _values(_run("a" + "/prompt/output-1111-11-11/" * 60_000 + "\n" * 60_000)),
    ),
    Line("1,200 runs and 12,000 chains", _values(_runs(1200, 12_000))),
    Line("1,500 runs", _values(_runs(1500, 1))),
    Line("`datasets` of 1.2 million ones", _values(_set(datasets=[1] * 1_200_000))),
    Line(
        "4 events of 9.9 MB of empty objects",
        _values(lambda _: [b'{"type":"pp-output","datasets":[' + b"{}," * 3_300_000 + b"1]}"] * 4),
        4,
    ),
    Line("30 records with a circle of the whole sky", _values(_region(circle(180).encode(), 30))),
    Line("a polygon with three equal vertices", _values(_region(_EQUAL_VERTICES))),
    Line(
        "a batch of 60 x 10 MiB of spaces, compressed to 20 kB",
        lambda _: [batch(*[RawRecord(b" " * (10 * _MIB))] * 60, codec=4, compress=zstd_encode)],
    ),
    Line(
        "the same with gzip",
        lambda _: [batch(*[RawRecord(b" " * (10 * _MIB))] * 60, codec=1, compress=gzip_encode)],
    ),
    Line(
        "the same with lz4",
        lambda _: [batch(*[RawRecord(b" " * (10 * _MIB))] * 60, codec=3, compress=lz4_encode)],
    ),
    Line(
        "a batch of 20 x 10 MiB of spaces, compressed with snappy",
        lambda _: [batch(*[RawRecord(b" " * (10 * _MIB))] * 20, codec=2, compress=snappy_encode)],
    ),
    Line("3 batches of 6 x 10 MiB of spaces, compressed", _bombs, 18),
    Line(
        "130 messages with a header of 9 MiB",
        lambda _: (batch(RawRecord(b"{}", headers=[(b"a", b"x" * 9 * _MIB)])) for _ in range(130)),
        130,
    ),
    Line(
        "130 messages with a key of 9 MiB",
        lambda _: (batch(RawRecord(b"{}", key=b"x" * 9 * _MIB)) for _ in range(130)),
        130,
    ),
    Line("2 events with values nested 300 deep", _values(_nested_values), 2),
    Line("4,000 files that do not exist", _values(_absent_files)),
    Line("20,000 datasets whose ids have the same hash", _values(_colliding)),
    Line(
        "500 events with a size of 2**63",
        lambda event: list(_values(_of_files(size=2**63))(event)) * 500,
        500,
    ),
    Line("a staging root of 200 kB", _values(_set(staging="/a" * 100_000))),
    Line("the chain of operators", _values(_set(chains=[OPERATORS_CHAIN]))),
    Line("a run with control characters", _values(_run("u/\x1b[2J"))),
    Line(
        "a file that does not exist, and 6 forged letters that point to it and elsewhere",
        _values(_lost_file),
        others=_forged_letters,
    ),
    Line("9,000 forged chain updates", lambda _: (), 0, _forged_updates),
    Line("300 new dataset types", _values(_new_types)),
    Line("a dataset type that needs a table, for a role without `CREATE`", _values(_new_table)),
    Line("the path `butler.yaml`", _values(_of_files(path="butler.yaml"))),
    Line("60,000 new instruments in 30 events", _values(_instruments), 30),
]
