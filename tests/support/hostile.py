"""Messages that somebody might send to stop, fill or fool a worker, of every kind we know.

Each kind takes a pod's event and a seeded random number generator, and returns the message's value.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Hashable
from functools import cache, reduce
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

import orjson
from lsst.sphgeom import Angle, Box, Ellipse, IntersectionRegion, LonLat, UnionRegion, UnitVector3d

from tests.support.hostile_messages import OTHER_KINDS, Destination, Sent
from tests.support.hostile_messages import size_of_kind as _size
from tests.support.regions import circle, nested

__all__ = ["KINDS", "KIND_OF_LINE", "colliding_ids", "colliding_values", "dumps", "hostile"]

Event: TypeAlias = dict[str, Any]
Kind: TypeAlias = Callable[[Event, Random], "bytes | Sent | None"]
"""Changes an event in place, or returns the message or its value."""

#: Python's hash of an integer, and so of a UUID, is the remainder of a division by this.
_MODULUS = 2**61 - 1


def hostile(encoded: bytes, rng: Random) -> tuple[str, Sent]:
    """Return the name of a kind, and a message of that kind.

    Parameters
    ----------
    encoded : `bytes`
        A pod's event.
    rng : `random.Random`
        Chooses the kind and the message.
    """
    kind = rng.choice(KINDS)
    changed = orjson.loads(encoded)
    made = kind(changed, rng)
    if not isinstance(made, Sent):
        made = Sent(Destination.INPUT, dumps(changed) if made is None else made)
    return kind.__name__, made


def dumps(event: Any) -> bytes:
    """Serialize an event, as `json` would do; some integers and texts are beyond `orjson`."""
    try:
        return orjson.dumps(event)
    except (TypeError, orjson.JSONEncodeError, RecursionError):
        import json

        return json.dumps(event, default=str).encode("utf-8", "surrogatepass")


def colliding_ids(number: int) -> list[str]:
    """Return different UUIDs with the same hash in Python."""
    return [str(UUID(int=12345 + n * _MODULUS)) for n in range(1, number + 1)]


@cache
def colliding_values(number: int, *before: Hashable) -> list[tuple[int, int]]:
    """Return different pairs of integers that have the same hash in Python, after other values.

    The hash of a tuple is the xxHash of its members' hashes: for each first member there is a
    second one that leads to the same state.
    """
    p1, p2, p5 = 11400714785074694791, 14029467366897019727, 2870177450012600261
    mask = 2**64 - 1
    inverse = pow(p2, -1, 2**64)

    def round_(state: int, lane: int) -> int:
        state = (state + lane * p2) & mask
        return ((state << 31 | state >> 33) & mask) * p1 & mask

    start = reduce(round_, (hash(value) & mask for value in before), p5)
    # The state before the last multiplication that all have.
    target = (round_(start, 1) + 2 * p2) & mask
    pairs = [(1, 2)]
    first = 2
    while len(pairs) < number:
        second = (target - round_(start, first)) * inverse & mask
        if second < _MODULUS:
            pairs.append((first, second))
        first += 1
    return pairs


def _refs(event: Event) -> list[dict[str, Any]]:
    return [ref for file in event["datasets"] for ref in file["refs"].values()]


def _regions(event: Event) -> list[dict[str, Any]]:
    records = [given["record"] for given in event["dimension_records"]]
    return [record for record in records if record.get("region")]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return each container of an event with each of its keys."""
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        item = stack.pop()
        pairs = item.items() if isinstance(item, dict) else enumerate(item)
        for key, inner in list(pairs):
            found.append((item, key))
            if isinstance(inner, dict | list):
                stack.append(inner)
    return found


def _deep(rng: Random) -> Any:
    value: Any = 1
    for _ in range(rng.choice([9, 50, 300, 900])):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


_ODD_TEXTS = (
    "",
    " ",
    "\0",
    "a\nb",
    "a\x1b[2Jb",
    "a\u202eb",
    "a\u2028b",
    "\ud800",
    "x" * 300,
    "x" * 5000,
    "../" * 400,
    "%2e%2e/" * 100,
    "file:///etc/passwd",
    "s3://bucket/key",
    "butler.yaml",
    "a/prompt/output-1111-11-11/" * 200,
    "a" + "/prompt/output-1111-11-11/" * 2000 + "\n" * 2000,
)
_ODD_NUMBERS = (0, -1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 1e308, -0.0, 0.5)


def any_value(event: Event, rng: Random) -> None:
    """Put an odd value somewhere into the event."""
    for _ in range(rng.choice([1, 1, 2, 5])):
        container, key = rng.choice(_places(event))
        container[key] = rng.choice(
            [None, True, [], {}, [[]], {"": ""}, *_ODD_NUMBERS, *_ODD_TEXTS, "5", "NaN"]
        )


def removed_value(event: Event, rng: Random) -> None:
    """Remove something, or give it another name."""
    container, key = rng.choice(_places(event))
    value = container.pop(key)
    if isinstance(container, dict) and rng.random() < 0.5:
        container[rng.choice(_ODD_TEXTS)] = value


def deep_value(event: Event, rng: Random) -> None:
    """Put a deeply nested value somewhere into the event."""
    container, key = rng.choice(_places(event))
    container[key] = _deep(rng)


def other_bytes(event: Event, rng: Random) -> bytes:
    """Change some bytes, cut the message off, or put something around it."""
    value = bytearray(orjson.dumps(event))
    match rng.randrange(5):
        case 0:
            for _ in range(rng.choice([1, 3, 20])):
                value[rng.randrange(len(value))] = rng.randrange(256)
        case 1:
            del value[rng.randrange(len(value)) :]
        case 2:
            start = rng.randrange(len(value))
            del value[start : start + rng.choice([1, 10, 100])]
        case 3:
            value[:0] = rng.choice([b" ", b"[", b"\xff", b"\0", b"{"]) * _size(rng, 2000, 10**6)
        case _:
            start = rng.randrange(len(value))
            value[start:start] = value[: rng.randrange(len(value))]
    return bytes(value)


def odd_literal(event: Event, rng: Random) -> bytes:
    """Put JSON text that `orjson` does not write into the event."""
    container, key = rng.choice(_places(event))
    container[key] = "the mark"
    raw = rng.choice(
        ["NaN", "-Infinity", "1e999", "9" * 30, "9" * 4000, "9" * 100_000, '"\\ud800"', "-0", "01"]
    )
    return orjson.dumps(event).replace(b'"the mark"', raw.encode())


def odd_name(event: Event, rng: Random) -> None:
    """Give a run, a chain, a dataset type, a formatter, a path or a data ID an odd text."""
    text = rng.choice(_ODD_TEXTS)
    match rng.randrange(7):
        case 0:
            for ref in _refs(event):
                ref["run"] = text
        case 1:
            event["chains"] = [text]
        case 2:
            rng.choice(_refs(event))["dataset_type_name"] = text
        case 3:
            rng.choice(event["datasets"])["formatter"] = f"lsst.{text}"
        case 4:
            rng.choice(event["datasets"])["path"] = text
        case 5:
            data_id = rng.choice(_refs(event))["data_id"]
            data_id[rng.choice(list(data_id))] = text
        case _:
            event["staging"] = text


def long_chain_pattern(event: Event, rng: Random) -> None:
    """Give a run a name for which the chain's pattern is matched again and again."""
    number = _size(rng, 60, 60_000)
    run = "a" + "/prompt/output-1111-11-11/" * number + "\n" * rng.choice([0, 1, number])
    for ref in _refs(event):
        ref["run"] = run


def many_runs_and_chains(event: Event, rng: Random) -> None:
    """Multiply runs and chains."""
    file = event["datasets"][0]
    (ref,) = file["refs"].values()
    runs = _size(rng, 110, 1200)
    event["datasets"] = [
        {**file, "refs": {str(UUID(int=rng.getrandbits(128))): {**ref, "run": f"u/{n}"}}}
        for n in range(runs)
    ]
    event["chains"] = [f"c/{n}" for n in range(_size(rng, 120, 12_000))]


def many_of_something(event: Event, rng: Random) -> bytes:
    """Have many small values in a list or an object."""
    number = _size(rng, 3000, 1_200_000)
    name = rng.choice(["datasets", "dimension_records", "dataset_types", "chains", "other"])
    item = rng.choice(
        [b"1", b"{}", b"[]", b'""', b'{"a":1}', b'{"refs":{}}', b'{"record":{"":[]}}']
    )
    if rng.random() < 0.8:
        many = b"[" + b",".join([item] * number) + b"]"
    else:
        many = b"{" + b",".join(b'"%d":%s' % (n, item) for n in range(number // 3)) + b"}"
    event[name] = "the mark"
    return orjson.dumps(event).replace(b'"the mark"', many)


def many_refs(event: Event, rng: Random) -> None:
    """Have many datasets in one file, with ids or data IDs that collide in Python's hash."""
    file = event["datasets"][rng.randrange(len(event["datasets"]))]
    (ref,) = file["refs"].values()
    number = _size(rng, 60, 20_000)
    if rng.random() < 0.5:
        ids = colliding_ids(number)
        file["refs"] = {i: {**ref, "data_id": {**ref["data_id"]}} for i in ids}
    else:
        names = [name for name, value in ref["data_id"].items() if isinstance(value, int)]
        file["refs"] = {
            str(UUID(int=rng.getrandbits(128))): {
                **ref,
                "data_id": ref["data_id"] | dict(zip(names, pair, strict=False)),
            }
            for pair in colliding_values(number)
        }


def many_records(event: Event, rng: Random) -> None:
    """Have many dimension records: different ones with the same key, or keys that collide."""
    number = _size(rng, 40, 2600)
    given = rng.choice(event["dimension_records"])
    numbers = [name for name, value in given["record"].items() if isinstance(value, int)]
    for n, pair in zip(range(number), colliding_values(number), strict=False):
        changes = dict(zip(numbers, pair, strict=False)) if number % 7 else {"other": n}
        event["dimension_records"].append({**given, "record": given["record"] | changes})


def many_dataset_types(event: Event, rng: Random) -> None:
    """Define many dataset types, or one with many dimensions."""
    number = _size(rng, 20, 1100)
    names = ["instrument", "visit", "detector", "band", "tract", "patch", "skymap", "htm7"]
    event["dataset_types"] = [
        {
            "name": f"t{n}",
            "storageClass": "StructuredDataDict",
            "dimensions": rng.choice([rng.sample(names, 3), [n], names * 50, [[]] * 50]),
        }
        for n in range(number)
    ]
    if number and rng.random() < 0.5:
        for ref in _refs(event):
            ref["dataset_type_name"] = f"t{rng.randrange(number)}"


def odd_region(event: Event, rng: Random) -> None:
    """Change the region of a dimension record."""
    record = rng.choice(_regions(event))
    encoded = rng.choice(_REGION_KINDS)(bytes.fromhex(record["region"]), rng)
    record["region"] = encoded.hex()


def many_odd_regions(event: Event, rng: Random) -> None:
    """Have many records with large regions."""
    given = next(g for g in event["dimension_records"] if g["record"].get("region"))
    make = rng.choice(_REGION_KINDS)
    for n in range(_size(rng, 12, 300)):
        region = make(bytes.fromhex(given["record"]["region"]), rng).hex()
        record = given["record"] | {"detector": n, "id": n, "region": region}
        event["dimension_records"].append({**given, "record": record})


def _other_numbers(region: bytes, rng: Random) -> bytes:
    """Replace numbers of an encoding."""
    encoded = bytearray(region)
    for _ in range(rng.choice([1, 2, 5])):
        start = 1 + 8 * rng.randrange((len(encoded) - 1) // 8)
        odd = [0.0, 1.0, -1.0, 2.0, 1e-300, 1e300, math.nan, math.inf, rng.uniform(-1, 1)]
        encoded[start : start + 8] = struct.pack("<d", rng.choice(odd))
    return bytes(encoded)


def _other_order(region: bytes, rng: Random) -> bytes:
    """Order, repeat or leave out vertices."""
    vertices = [region[n : n + 24] for n in range(1, len(region) - 23, 24)]
    number = rng.choice([1, 2, 3, len(vertices), 80])
    return region[:1] + b"".join(rng.choices(vertices, k=number))


def _polygon(region: bytes, rng: Random) -> bytes:
    """Return a polygon of points anywhere: equal, antipodal, far apart, or along a line."""
    number = rng.choice([3, 4, 8, 300, 682])
    match rng.randrange(5):
        case 0:
            points = [(1.0, 0.0, 0.0)] * number
        case 1:
            points = [(1.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
        case 2:
            angles = [math.tau * n / number for n in range(number)]
            radius = rng.choice([1e-12, 1e-9, 1e-6, 0.01, 0.5, 1.3, 1.57, 1.6])
            points = [
                (
                    math.cos(radius),
                    math.sin(radius) * math.cos(angle),
                    math.sin(radius) * math.sin(angle),
                )
                for angle in angles
            ]
        case 3:
            points = [(math.cos(n / number), math.sin(n / number), 0.0) for n in range(number)]
        case _:
            vectors = [
                UnitVector3d(LonLat.fromDegrees(rng.uniform(0, 360), rng.uniform(-90, 90)))
                for _ in range(number)
            ]
            points = [(v.x(), v.y(), v.z()) for v in vectors]
    return b"p" + b"".join(struct.pack("<3d", *point) for point in points)


def _circle(region: bytes, rng: Random) -> bytes:
    radius = rng.choice([-1, 0, 1e-9, 1.75, 20, 33, 60, 90, 179.9, 180])
    return circle(radius).encode()


def _box(region: bytes, rng: Random) -> bytes:
    lon, lat = sorted(rng.uniform(0, 360) for _ in "ab"), sorted(rng.uniform(-90, 90) for _ in "ab")
    box = Box(LonLat.fromDegrees(lon[0], lat[0]), LonLat.fromDegrees(lon[1], lat[1]))
    return rng.choice([box, Box.full(), Box.empty(), Box()]).encode()


def _ellipse(region: bytes, rng: Random) -> bytes:
    centre = UnitVector3d(LonLat.fromDegrees(30, -30))
    good = Ellipse(centre, *(Angle.fromDegrees(a) for a in (2, 1, 0))).encode()
    return rng.choice([good, _other_numbers(good, rng), b"e" + b"\0" * 112, b"e" + b"\xff" * 112])


def _compound(region: bytes, rng: Random) -> bytes:
    """Return a union or an intersection, perhaps with wrong lengths, or of one another."""
    match rng.randrange(6):
        case 0:
            return nested(rng.choice([1, 5, 150, 1800, 60_000]))
        case 1:
            return b"u" * rng.choice([1, 9, 16_000])
        case 2:
            length = rng.choice([0, 1, 2**32, 2**63, 2**64 - 1, len(region)])
            return b"u" + struct.pack("<Q", length) + region
        case 3:
            return (b"u" + struct.pack("<Q", 2**64 - 1 - rng.randrange(200)) + region) * 2
        case 4:
            return UnionRegion(circle(1), Box.full(), circle(60)).encode()
        case _:
            return IntersectionRegion(circle(1), circle(rng.choice([1, 60, 180]))).encode()


def _any_bytes(region: bytes, rng: Random) -> bytes:
    size = rng.choice([0, 1, 33, 41, 73, 97, 113, 1000])
    return rng.choice([b"p", b"c", b"b", b"e", b"u", b"i", b"x", b""]) + rng.randbytes(size)


_REGION_KINDS: tuple[Callable[[bytes, Random], bytes], ...] = (
    _other_numbers,
    _other_order,
    _polygon,
    _circle,
    _box,
    _ellipse,
    _compound,
    _any_bytes,
)

KINDS: tuple[Kind, ...] = (
    any_value,
    removed_value,
    deep_value,
    other_bytes,
    odd_literal,
    odd_name,
    long_chain_pattern,
    many_runs_and_chains,
    many_of_something,
    many_refs,
    many_records,
    many_dataset_types,
    odd_region,
    odd_region,
    odd_region,
    many_odd_regions,
    *OTHER_KINDS,
)

#: The kind that makes messages like those of each line of docs/hostile.md.
KIND_OF_LINE = {
    "a header whose name is not UTF-8": "odd_batch",
    "a region that is an ellipse of zeros": "odd_region",
    "a region of 60,000 nested unions": "odd_region",
    "a run of 1.5 MB for which the chain's pattern was matched again and again": (
        "long_chain_pattern"
    ),
    "1,200 runs and 12,000 chains": "many_runs_and_chains",
    "1,500 runs": "many_runs_and_chains",
    "`datasets` of 1.2 million ones": "many_of_something",
    "4 events of 9.9 MB of empty objects": "many_of_something",
    "30 records with a circle of the whole sky": "many_odd_regions",
    "a polygon with three equal vertices": "odd_region",
    "a batch of 60 x 10 MiB of spaces, compressed to 20 kB": "compressed_spaces",
    "the same with gzip": "compressed_spaces",
    "the same with lz4": "compressed_spaces",
    "a batch of 20 x 10 MiB of spaces, compressed with snappy": "compressed_spaces",
    "3 batches of 6 x 10 MiB of spaces, compressed": "compressed_spaces",
    "130 messages with a header of 9 MiB": "long_key_or_header",
    "130 messages with a key of 9 MiB": "long_key_or_header",
    "2 events with values nested 300 deep": "deep_value",
    "4,000 files that do not exist": "odd_file",
    "20,000 datasets whose ids have the same hash": "many_refs",
    "500 events with a size of 2**63": "odd_file",
    "a staging root of 200 kB": "odd_path",
    "the chain of operators": "odd_chain",
    "a run with control characters": "odd_name",
    "a file that does not exist, and 6 forged letters that point to it and elsewhere": (
        "forged_letter"
    ),
    "9,000 forged chain updates": "forged_chain_update",
    "300 new dataset types": "many_dataset_types",
    "a dataset type that needs a table, for a role without `CREATE`": "many_dataset_types",
    "the path `butler.yaml`": "odd_path",
    "60,000 new instruments in 30 events": "new_elements",
}
