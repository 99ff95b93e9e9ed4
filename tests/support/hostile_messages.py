"""More messages that somebody might send: names, files and records that an event may not have,
batches that no client makes, and messages of the service's own topics.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

import orjson
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode

from models.dead_letter import POINTS, DeadLetter
from tests.support.raw_batches import RawRecord, batch

__all__ = [
    "ODD_NAMES",
    "OPERATORS_CHAIN",
    "OTHER_KINDS",
    "Destination",
    "Sent",
    "make_large_batches",
    "size_of_kind",
]

Event: TypeAlias = dict[str, Any]

#: A chain that the service has not made.
OPERATORS_CHAIN = "TestCam/defaults"

_MIB = 2**20


class Destination(StrEnum):
    """What reads a message."""

    INPUT = "input"
    """The worker reads it as an event."""

    BATCH = "batch"
    """It is a batch of the input topic."""

    LETTERS = "letters"
    """The commands read it as a dead letter."""

    UPDATES = "updates"
    """The agent of the chains reads it."""

    CHANGELOG = "changelog"
    """The table of chains is restored from it."""


@dataclass(frozen=True)
class Sent:
    """A message, and what reads it."""

    to: Destination
    value: bytes | None
    key: bytes | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)


def size_of_kind(rng: Random, usual: int, largest: int) -> int:
    """Return a number that is seldom the largest one: such messages take time."""
    return largest if rng.random() < 0.005 else rng.randint(0, usual)


ODD_NAMES = (
    "",
    " ",
    "\0",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    "\x9b31m",
    "a\u202eb",
    "a\u2028b",
    "\ud800",
    "\udfff\ud800",
    "\ufeffa",
    "TestC\u0430m/defaults",  # a Cyrillic letter
    "TestCam\u2215prompt",  # a division slash
    "a/../b",
    "a/./b",
    "a//b",
    "/",
    "..",
    "e\u0301" * 100,
    "\U0001f52d" * 250,
    "x" * 255,
    "x" * 256,
    "%00",
    "a%2e%2e%2fb",
    "'; DROP TABLE dataset; --",
    "{run}",
    "$HOME",
    OPERATORS_CHAIN,
)

_ODD_PATHS = (
    *ODD_NAMES,
    "butler.yaml",
    "./butler.yaml",
    "butler.yaml#x",
    "butler.yaml?x",
    "BUTLER.YAML",
    "gen3.sqlite3",
    "gen3.sqlite3-journal",
    "TestCam",
    "TestCam/",
    "../repository/butler.yaml",
    "{run}/../../../../butler.yaml",
    "{run}/x/../y.json",
    "{run}/..%2f..%2fbutler.yaml",
    "{run}/%252e%252e/butler.yaml",
    "{run}/a\\..\\b",
    "{run}/\u2025/b",
    "{run}/.",
    "{run}/",
    "{run}",
    "{run}x/a.json",
    "{run}/a.zip#unzip=b",
    "/etc/passwd",
    "/proc/self/environ",
    "file:///proc/self/mem",
    "file://localhost/etc/passwd",
    "FILE:///etc/passwd",
    "https://me:secret@host/a.json",
    "s3://bucket/key",
    "s3://profile@bucket/key",
    "gs://bucket/key",
    "resource://app/__init__.py",
    "mem://x",
    "eups://x",
    "~/x",
    "C:\\x",
    "//host/share",
    "http://[",
    "http://[::1]:99999/",
)


def _refs(event: Event) -> list[dict[str, Any]]:
    return [ref for file in event["datasets"] for ref in file["refs"].values()]


def odd_path(event: Event, rng: Random) -> None:
    """Give files paths that lead elsewhere, with and without a staging root."""
    run = _refs(event)[0]["run"]
    for file in event["datasets"][: rng.choice([1, 1, 3])]:
        file["path"] = rng.choice(_ODD_PATHS).replace("{run}", run)
    if rng.random() < 0.2:
        event["staging"] = rng.choice([*_ODD_PATHS, "/a" * size_of_kind(rng, 500, 100_000)])


def odd_chain(event: Event, rng: Random) -> None:
    """Name chains and runs that are others', that look alike, or that are each other."""
    run = _refs(event)[0]["run"]
    names = [run, run.rpartition("/")[0], f"{run}/x", "u", "x", run.upper(), OPERATORS_CHAIN]
    if rng.random() < 0.5:
        names += ODD_NAMES
    event["chains"] = rng.choices(names, k=rng.choice([1, 1, 2, 50]))
    if rng.random() < 0.3:
        for ref in _refs(event):
            ref["run"] = rng.choice([*names, ref["run"]])


def odd_file(event: Event, rng: Random) -> None:
    """Give sizes and checksums that are absurd, and many files that do not exist."""
    file = event["datasets"][0]
    odd = rng.choice
    if rng.random() < 0.5:
        file["size"] = odd([2**63, 2**63 - 1, 2**64, -1, 10**30, 1.5, 1e300, True, "5", [], {}, ""])
    if rng.random() < 0.5:
        file["checksum"] = odd(
            ["", "g", "A" * 10, "a" * 128, "a" * 129, "a" * 10**6, 1, [], {}, "\u0661", "a\n"]
        )
    if rng.random() < 0.5:
        file["formatter"] = odd(
            ["os.system", "lsst.x", "lsst.x\n", "lsst..x", "lsst." + "x" * 10**6, 1, [], {}, ""]
        )
    if rng.random() < 0.2:
        (ref,) = file["refs"].values()
        event["datasets"] = [
            {
                **file,
                "path": f"{ref['run']}/absent/{n}.json",
                "refs": {str(UUID(int=rng.getrandbits(128))): ref},
            }
            for n in range(1 + size_of_kind(rng, 3, 4000))
        ]


def odd_id(event: Event, rng: Random) -> None:
    """Give dataset ids in other notations, twice, or none at all."""
    file = event["datasets"][0]
    ((given, ref),) = file["refs"].items()
    plain = given.replace("-", "")
    notations = [
        plain,
        plain.upper(),
        f"{{{given}}}",
        f"urn:uuid:{given}",
        "-".join(plain),
        plain.translate({ord("1"): "\u0661"}),  # a digit of another script
        given + "\0",
        given[:-1],
        " " + given,
        "\uff11" * 32,
        "",
        "0" * 32,
        "x" * 10**5,
    ]
    chosen = rng.choices([given, *notations], k=rng.choice([1, 2, 4]))
    file["refs"] = {name: dict(ref) for name in chosen}
    if rng.random() < 0.3:
        event["datasets"].append({**file, "path": file["path"] + rng.choice(["", "x"])})


def odd_data_id(event: Event, rng: Random) -> None:
    """Give data IDs values of other types, further keys, or values that no record has."""
    ref = rng.choice(_refs(event))
    data_id = ref["data_id"]
    name = rng.choice([*data_id])
    values: list[Any] = [
        *ODD_NAMES,
        *(0, -1, 2**63 - 1, 2**63, 2**64, 10**30, 1.0, 1.5, 1e300, True, False, None),
        *("1", "01", "+1", " 1 ", "1.", "1.0", "1e0", "0x1", "1_0", "\u0661", "9" * 5000),
        *([], {}, [1], {"a": 1}, [[[[[[[[[[1]]]]]]]]]], {"a": {"b": {"c": {}}}}),
    ]
    match rng.randrange(4):
        case 0:
            data_id[name] = rng.choice(values)
        case 1:
            for n in range(size_of_kind(rng, 300, 20_000)):
                data_id[f"other{n}"] = n
        case 2:
            del data_id[name]
        case _:
            data_id |= {"htm7": rng.choice([0, 131072, 262143, 262144, -1]), "healpix9": 2**40}
            ref["data_id"] = data_id if rng.random() < 0.5 else rng.choice(values)


def odd_time(event: Event, rng: Random) -> None:
    """Give records timespans, dates and numbers that are reversed, extreme or none."""
    numbers = [0, -1, 2**31, 2**62, 2**63 - 1, 2**63, -(2**63), 10**30, 1e18, -0.0, 1.5, 1e308]
    for given in event["dimension_records"]:
        record = given["record"]
        for name, value in record.items():
            if rng.random() > 0.1:
                continue
            if isinstance(value, list) or name in ("timespan", "obs_start", "obs_end"):
                pair: list[Any] = rng.choices(
                    [*numbers, None, "x", True, []], k=rng.choice([0, 1, 2, 2, 2, 3])
                )
                record[name] = rng.choice([pair, sorted(map(_number, pair)), pair[::-1], pair * 50])
            elif isinstance(value, int | float):
                record[name] = rng.choice([*numbers, str(value), True, None, [value]])
            elif isinstance(value, str) and name != "region":
                record[name] = rng.choice([*ODD_NAMES, "x" * 5000, 1, None, {}, "'" * 4000])


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else 0.0


def new_elements(event: Event, rng: Random) -> None:
    """Bring records of elements that operators register, or that do not exist."""
    name = rng.choice(["instrument", "detector", "physical_filter", "skymap", "tract", "band"])
    name = rng.choice([name, name, "htm7", "healpix9", "visit_definition", "x", "", "visit\0"])
    for n in range(1 + size_of_kind(rng, 30, 2000)):
        record = {
            "name": f"I{n}",
            "instrument": rng.choice(["TestCam", f"I{n}"]),
            "id": n,
            "full_name": f"R{n:02}",
            "band": "r",
            "class_name": "os.system",
            "hash": "00" * 20,
            "skymap": "s",
        }
        event["dimension_records"].append({"definition": name, "record": record})


def odd_json(event: Event, rng: Random) -> bytes:
    """Send JSON in other encodings, with keys that are there twice, or with odd literals."""
    text = orjson.dumps(event)
    odd = [b"NaN", b"-NaN", b"Infinity", b"1e99999", b"1" * 5000, b'"\\ud800"', b'"\\u0000"']
    match rng.randrange(8):
        case 0:
            return text.decode().encode(rng.choice(["utf-16", "utf-32", "utf-8-sig"]))
        case 1:
            return text.replace(b"/", rng.choice([b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80"]))
        case 2:
            extra = rng.choice([b'"datasets":[]', b'"type":"pp-output"', b'"datasets":1', b'"a":1'])
            return text[:-1] + b"," + b",".join([extra] * size_of_kind(rng, 50, 100_000)) + b"}"
        case 3:
            return text[:1] + b'"type":"other","datasets":[{}],' + text[1:]
        case 4:
            return text + rng.choice([b"\0", b" " * 10**5, b"x", b"{}", b"\n" + text, b"//"])
        case 5:
            # A list of such literals is decoded in another way.
            many = b",".join([rng.choice(odd)] * size_of_kind(rng, 100, 200_000))
            return text[:-1] + b',"more":[' + many + b"]}"
        case 6:
            number = rng.choice([100, 190, 250, 1000, 5000])
            opened = b'{"a":' * number + rng.choice(odd) + b"}" * number
            return text[:-1] + b',"deep":' + opened + b"}"
        case _:
            names = ["region", "timespan", "id", "run", "path", "detector"]
            mark = f'"{rng.choice(names)}":'.encode()
            return text.replace(mark, mark + rng.choice(odd) + b"," + mark)


def long_key_or_header(event: Event, rng: Random) -> Sent:
    """Send keys and headers that are long, many, or those of replays and letters."""
    key = b"k" * size_of_kind(rng, 70_000, 9 * _MIB) if rng.random() < 0.5 else None
    headers = rng.choice(
        [
            {"h": b"x" * size_of_kind(rng, 70_000, 9 * _MIB)},
            {f"h{n}": b"" for n in range(size_of_kind(rng, 100, 10_000))},
            {"replays": rng.choice([b"9" * 400, b"-1", b"\xff", b"", "\u0661".encode()])},
            {"\x1b[2J": b"\x1b[2J", "error_class": b"conflict", POINTS: b"true"},
        ]
    )
    value = rng.choice([orjson.dumps(event), b"{}", b"", None, b" " * size_of_kind(rng, 99, 10**7)])
    return Sent(Destination.INPUT, value, key, headers)


_ENCODERS: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: gzip_encode,
    2: snappy_encode,
    3: lz4_encode,
    4: zstd_encode,
}


def odd_batch(event: Event, rng: Random) -> Sent:
    """Send a batch with odd header names, attributes and lengths, or compressed wrongly."""
    value = orjson.dumps(event)
    odd = RawRecord(
        rng.choice([b"{}", value, None, b""]),
        rng.choice([None, b"", b"\xff"]),
        [
            (rng.choice([b"\xff\xfe", b"", b"a", b"\xed\xa0\x80", b"h" * 70_000]), b"v"),
            (b"b", rng.choice([None, b""])),
        ][: rng.choice([0, 1, 2])],
        rng.choice([0, 0x80, 0xFF]),
    )
    codec = rng.choice([0, 0, 1, 2, 3, 4, 5, 7])
    encode = _ENCODERS.get(rng.choice([codec, codec, 1, 4]), bytes)

    def compress(content: bytes) -> bytes:
        match rng.randrange(4):
            case 0:
                changed = bytearray(encode(content))
                for _ in range(rng.choice([1, 3])):
                    changed[rng.randrange(len(changed))] = rng.randrange(256)
                return bytes(changed)
            case 1:
                changed = bytearray(content)
                changed[rng.randrange(min(30, len(changed)))] = rng.randrange(256)
                return encode(bytes(changed))
            case 2:
                return encode(content) + rng.randbytes(rng.choice([1, 100]))
            case _:
                return encode(content)

    made = batch(RawRecord(value), odd, RawRecord(b"{}"), codec=codec, compress=compress)
    if rng.random() < 0.1:
        made = made[:-1] + bytes([made[-1] ^ 1])  # a wrong checksum
    return Sent(Destination.BATCH, made)


@cache
def _spaces(codec: int, number: int, size: int) -> bytes:
    record = RawRecord(b" " * size)
    return batch(*[record] * number, codec=codec, compress=_ENCODERS[codec])


#: The number and the size of the messages of large batches, within the limit and beyond it.
_LARGE = ((3, 10 * _MIB), (7, 10 * _MIB))


def make_large_batches() -> None:
    """Make the large batches, which takes more memory than to read them."""
    for codec in range(1, 5):
        for number, size in _LARGE:
            _spaces(codec, number, size)


def compressed_spaces(event: Event, rng: Random) -> Sent:
    """Send a batch that has many times its bytes when it is decompressed."""
    codec = rng.choice([1, 2, 3, 4])
    if rng.random() < 0.005:
        return Sent(Destination.BATCH, _spaces(codec, *rng.choice(_LARGE)))
    return Sent(Destination.BATCH, _spaces(codec, rng.choice([1, 5]), rng.choice([10, 10**5])))


def forged_letter(event: Event, rng: Random) -> Sent:
    """Send a letter that points to another event, or says what a terminal obeys."""
    value = orjson.dumps(event)
    letter = DeadLetter(
        rng.choice(["pp-output", "absent", "\x1b[2J"]),
        rng.choice([0, -1, 2**31, 10**30]),
        rng.choice([0, -1, 2**63, 10**30]),
        rng.choice(["conflict", "", "\x1b]0;x\a", "x" * 3000]),
        rng.choice(["why", "\x1b[2J", "\u202e", "a\nb\rc", "x" * 10**5, "https://me:pw@host/"]),
        rng.choice(["2026-11-23", "9999-99-99", "\x1b[31m", ""]),
        rng.choice([0, -1, 10**9, 10**30]),
    )
    headers = letter.headers() | {POINTS: rng.choice([b"true", b"false", b"", b"\xff"])}
    is_small = max(letter.partition, letter.offset) < 2**63
    pointer = orjson.loads(letter.pointer(value)) if is_small else {}
    pointer |= rng.choice([{}, {"sha256": rng.choice([[], 1, "x" * 10**4, "\x1b[2J"])}])
    content = rng.choice([value, orjson.dumps(pointer), b"[" * size_of_kind(rng, 1000, 10**7), b""])
    if rng.random() < 0.2:
        headers[rng.choice([*headers])] = rng.choice([b"\xff", b"9" * 5000, b"", b"\0", b"1_0"])
    if rng.random() < 0.2:
        del headers[rng.choice([*headers])]
    return Sent(Destination.LETTERS, content, hashlib.sha256(value).digest(), headers)


def _chain_values(rng: Random) -> bytes:
    update = {"run": "r", "datasets": 1, "events": 1, "batch_id": "b", "written_at": 1.0}
    run = {"run": "r", "first_write": 1.0, "last_write": 2.0, "datasets": 1, "events": 1}
    odd: list[Any] = [None, -1, 2**63, 1e300, [], {}, "", "\0", "\x1b[2J", True, "x" * 10**5]
    message: Any = rng.choice(
        [
            {"chain": f"forged/{rng.randrange(10**6)}", **update},
            {"chain": "c", "runs": [{**run, "run": f"r{n}"} for n in range(rng.choice([1, 500]))]},
        ]
    )
    if rng.random() < 0.5:
        inner = rng.choice([message, *message.get("runs", [])[:1]])
        inner[rng.choice([*inner])] = rng.choice(odd)
    value = orjson.dumps(message, default=str) if not _is_large(message) else b"1e400"
    return rng.choice([value, value, value, b"[" * size_of_kind(rng, 3000, 10**6), b"\xff", b""])


def _is_large(message: Mapping[str, Any]) -> bool:
    return any(value == 2**63 for value in message.values())


def forged_chain_update(event: Event, rng: Random) -> Sent:
    """Send chain updates that the service has not sent."""
    return Sent(Destination.UPDATES, _chain_values(rng), b"c")


def forged_changelog_record(event: Event, rng: Random) -> Sent:
    """Send records of the changelog that the service has not sent."""
    key = rng.choice([b'"c"', b"[]", b"", b"\xff", b'"' + b"k" * 10**5 + b'"', b"1", b'"\\ud800"'])
    return Sent(Destination.CHANGELOG, rng.choice([None, _chain_values(rng)]), key)


OTHER_KINDS: tuple[Callable[[Event, Random], bytes | Sent | None], ...] = (
    odd_path,
    odd_chain,
    odd_file,
    odd_id,
    odd_data_id,
    odd_time,
    new_elements,
    odd_json,
    long_key_or_header,
    odd_batch,
    compressed_spaces,
    forged_letter,
    forged_chain_update,
    forged_changelog_record,
)
