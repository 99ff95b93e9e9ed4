"""Unusual forms of an event, to be compared with what the deployed service makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, TypeAlias

from tests.support.events import Night

__all__ = ["MUTATIONS", "REFUSED", "TABLE_TYPE", "Change", "mutated"]

Event: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Event], "bytes | str | None"]
"""Changes an event in place, or returns the message."""

#: Indices of the datasets that an event keeps: of an exposure, of a visit, of a group.
_KEPT = (0, 3, 8)

_LOG, _VISIT, _GROUP = range(len(_KEPT))

#: A dataset type of exposures and detectors that both repositories have, of tables.
TABLE_TYPE = "isr_table"

#: Dataset types that the event uses.
_USED = ("isr_log", "calibrate_log", "preload_log")


def mutated(night: Night, visit: int, change: Change) -> bytes:
    """Return the message of an event of three datasets, changed."""
    event = deepcopy(night.event(visit))
    event["datasets"] = [event["datasets"][n] for n in _KEPT]
    message = change(event)
    if message is None:
        message = json.dumps(event)
    return message.encode() if isinstance(message, str) else message


def _ref(event: Event, dataset: int = _LOG) -> Event:
    (ref,) = event["datasets"][dataset]["refs"].values()
    return dict.__getitem__({"": ref}, "")


def _record(event: Event, element: str) -> Event:
    (record,) = (r["record"] for r in event["dimension_records"] if r["definition"] == element)
    return dict.__getitem__({"": record}, "")


def _in_event(name: str, value: Any) -> Change:
    return lambda event: event.update({name: value})


def _in_file(name: str, value: Any) -> Change:
    return lambda event: event["datasets"][_LOG].update({name: value})


def _without_in_file(name: str) -> Change:
    def change(event: Event) -> None:
        del event["datasets"][_LOG][name]

    return change


def _in_ref(name: str, value: Any) -> Change:
    return lambda event: _ref(event).update({name: value})


def _in_every_ref(name: str, value: Any) -> Change:
    def change(event: Event) -> None:
        for n in range(len(_KEPT)):
            _ref(event, n)[name] = value

    return change


def _in_data_id(convert: Callable[[Any], Any], name: str, datasets: Iterable[int]) -> Change:
    def change(event: Event) -> None:
        for n in datasets:
            data_id = _ref(event, n)["data_id"]
            data_id[name] = convert(data_id.get(name))

    return change


def _in_record(element: str, name: str, value: Any) -> Change:
    def change(event: Event) -> None:
        record = _record(event, element)
        record[name] = value(record.get(name)) if callable(value) else value

    return change


def _without_in_record(element: str, name: str) -> Change:
    def change(event: Event) -> None:
        del _record(event, element)[name]

    return change


def _id(convert: Callable[[str], str]) -> Change:
    def change(event: Event) -> None:
        file = event["datasets"][_LOG]
        file["refs"] = {convert(i): ref for i, ref in file["refs"].items()}

    return change


def _text(convert: Callable[[str], str | bytes]) -> Change:
    return lambda event: convert(json.dumps(event))


def _type(*, used: bool = True, name: str = "isr_log", **fields: Any) -> Change:
    """Bring a dataset type, by default one that is registered."""

    def change(event: Event) -> None:
        given = {
            "name": name,
            "storageClass": "StructuredDataDict",
            "dimensions": ["instrument", "exposure", "detector"],
        }
        event["dataset_types"] = [{k: v for k, v in (given | fields).items() if v is not ...}]
        if used:
            _ref(event)["dataset_type_name"] = name
        assert used or name not in _USED

    return change


def _path(convert: Callable[[str], str]) -> Change:
    def change(event: Event) -> None:
        event["datasets"][_LOG]["path"] = convert(event["datasets"][_LOG]["path"])

    return change


def _twice(event: Event) -> None:
    """Give a dataset id twice, in two notations."""
    file = event["datasets"][_LOG]
    ((dataset_id, ref),) = file["refs"].items()
    file["refs"] = {dataset_id: ref, dataset_id.upper(): dict(ref)}


def _record_twice(event: Event) -> None:
    (record,) = (r for r in event["dimension_records"] if r["definition"] == "visit")
    other = deepcopy(record)
    other["record"]["exposure_time"] = 31.0
    event["dimension_records"].append(other)


def _band(event: Event) -> None:
    event["dimension_records"].append({"definition": "band", "record": {"name": "r"}})


def _other_run(event: Event) -> None:
    event["datasets"][_LOG]["refs"] = {}


def _no_records(event: Event) -> None:
    event["dimension_records"] = []


def _raw(event: Event, **marks: str) -> str:
    """Return the message with JSON text that `json` does not write in place of some values."""
    text = json.dumps(event)
    for mark, raw in marks.items():
        assert f'"{mark}"' in text
        text = text.replace(f'"{mark}"', raw)
    return text


def _literal(element: str, name: str, raw: str) -> Change:
    def change(event: Event) -> str:
        _record(event, element)[name] = "mark"
        return _raw(event, mark=raw)

    return change


def _literal_in_data_id(name: str, raw: str) -> Change:
    def change(event: Event) -> str:
        _ref(event)["data_id"][name] = "mark"
        return _raw(event, mark=raw)

    return change


def _extra(raw: str) -> Change:
    def change(event: Event) -> str:
        event["other"] = "mark"
        return _raw(event, mark=raw)

    return change


_ALL = range(len(_KEPT))
_WITH_VISIT = (_VISIT,)

MUTATIONS: dict[str, Change] = {
    "nothing": lambda event: None,
    # The message.
    "byte order mark": _text(lambda text: b"\xef\xbb\xbf" + text.encode()),
    "utf-16": _text(lambda text: text.encode("utf-16")),
    "utf-8 and not ascii": lambda event: (
        _record(event, "visit").update(target_name="\u00fc"),
        json.dumps(event, ensure_ascii=False),
    )[1],
    "invalid utf-8": _text(lambda text: text.encode().replace(b'"V', b'"\xff')),
    "lone surrogate": _literal("visit", "target_name", r'"\ud800"'),
    "lone surrogate in an unknown key": _extra(r'"\ud800"'),
    "control character": _literal("visit", "target_name", '"a\tb"'),
    "null character": _literal("visit", "target_name", r'"a\u0000b"'),
    "white space around": _text(lambda text: f" \r\n\t{text}\n "),
    "form feed before": _text(lambda text: f"\f{text}"),
    "null byte behind": _text(lambda text: f"{text}\0"),
    "something behind": _text(lambda text: f"{text} null"),
    "trailing comma": _text(lambda text: f"{text[:-1]},}}"),
    "comment": _text(lambda text: f"/* */{text}"),
    "duplicate key": _text(lambda text: f'{{"datasets": [], {text[1:]}'),
    "duplicate key, the last is wrong": _text(lambda text: f'{text[:-1]}, "datasets": 1}}'),
    "indented": lambda event: json.dumps(event, indent=4),
    "deep": _extra("[" * 100 + "]" * 100),
    "very deep": _extra("[" * 500 + "]" * 500),
    "nan in an unknown key": _extra("NaN"),
    "infinity in an unknown key": _extra("-Infinity"),
    "huge number in an unknown key": _extra("1e999"),
    "long number in an unknown key": _extra("9" * 100),
    "very long number in an unknown key": _extra("9" * 5000),
    "number with a leading zero": _extra("01"),
    "number with a plus": _extra("+1"),
    "nan in lower case": _extra("nan"),
    # The event.
    "unknown key": _in_event("other", {"a": [None]}),
    "type in upper case": _in_event("type", "PP-OUTPUT"),
    "no datasets": _in_event("datasets", []),
    "datasets null": _in_event("datasets", None),
    "no dimension records": _no_records,
    "dimension records null": _in_event("dimension_records", None),
    "dataset types null": _in_event("dataset_types", None),
    "dataset types empty": _in_event("dataset_types", []),
    "sent_at a string": _in_event("sent_at", "now"),
    "sent_at nan": lambda event: (event.update(sent_at="mark"), _raw(event, mark="NaN"))[1],
    "event_id a number": _in_event("event_id", 5),
    "chains null": _in_event("chains", None),
    "chains a string": _in_event("chains", "u/chain"),
    "staging null": _in_event("staging", None),
    "staging a number": _in_event("staging", 5),
    # A file.
    "file with an unknown key": _in_file("other", 1),
    "file without formatter": _without_in_file("formatter"),
    "file with formatter null": _in_file("formatter", None),
    "file with formatter empty": _in_file("formatter", ""),
    "file with formatter a number": _in_file("formatter", 1),
    "file without path": _without_in_file("path"),
    "file with path null": _in_file("path", None),
    "file with path a number": _in_file("path", 5),
    "file without refs": _without_in_file("refs"),
    "file with refs empty": _in_file("refs", {}),
    "file with size null": _in_file("size", None),
    "file with size a string": _in_file("size", "big"),
    "file with size -1": _in_file("size", -1),
    "file with checksum a number": _in_file("checksum", 12),
    "file with checksum in upper case": _in_file("checksum", "AB"),
    "path with a dot": _path(lambda path: f"./{path}"),
    "path with two slashes": _path(lambda path: path.replace("/", "//")),
    "path with an escape": _path(lambda path: path.replace("_", "%5F")),
    "path with a fragment": _path(lambda path: f"{path}#fragment"),
    "path with a query": _path(lambda path: f"{path}?a=b"),
    "path with a variable": _path(lambda path: f"{path}$HOME"),
    "path with a slash at the end": _path(lambda path: f"{path}/"),
    "path with white space": _path(lambda path: f" {path} "),
    # A ref.
    "id in upper case": _id(str.upper),
    "id without dashes": _id(lambda i: i.replace("-", "")),
    "id as urn": _id(lambda i: f"urn:uuid:{i}"),
    "id in braces": _id(lambda i: f"{{{i}}}"),
    "id in braces without dashes": _id(lambda i: f"{{{i.replace('-', '')}}}"),
    "id with white space": _id(lambda i: f" {i}"),
    "id too short": _id(lambda i: i[1:]),
    "id twice": _twice,
    "ref with an unknown key": _in_ref("id", 5),
    "ref without data_id": lambda event: _ref(event).pop("data_id") and None,
    "run empty": _in_every_ref("run", ""),
    "run null": _in_every_ref("run", None),
    "run a number": _in_every_ref("run", 5),
    "run with white space": _in_every_ref("run", " run "),
    "run with a control character": _in_every_ref("run", "u/a\x1b[2Jb"),
    "run with another direction": _in_every_ref("run", "u/a\u202eb"),
    "run of other characters": _in_every_ref("run", "u/\u00fc\u4e2d%2F'\"\\;--"),
    "dataset type of a component": _in_ref("dataset_type_name", "isr_log.a"),
    "dataset type null": _in_ref("dataset_type_name", None),
    "dataset type unknown": _in_ref("dataset_type_name", "unknown"),
    # A data ID.
    **{
        f"{name} {label}": _in_data_id(convert, name, datasets)
        for name, datasets in (("detector", _ALL), ("visit", _WITH_VISIT), ("exposure", (_LOG,)))
        for label, convert in (
            ("a string", str),
            ("a float", float),
            ("a string with a point", lambda n: f"{n}.0"),
            ("a string with a zero", lambda n: f"0{n}"),
            ("a string with a plus", lambda n: f"+{n}"),
            ("a string with white space", lambda n: f" {n} "),
            ("null", lambda n: None),
            ("a fraction", lambda n: n + 0.5),
            ("a list", lambda n: [n]),
            ("a word", lambda n: "one"),
            ("a string in hexadecimal", hex),
            ("an empty string", lambda n: ""),
        )
    },
    "detector a string with an underscore": _in_data_id(lambda n: "0_0", "detector", _ALL),
    "detector in other digits": _in_data_id(lambda n: "\u0660", "detector", _ALL),
    "detector false": _in_data_id(lambda n: False, "detector", _ALL),
    "detector true": _in_data_id(lambda n: True, "detector", (_GROUP,)),
    "detector 1.0": _literal_in_data_id("detector", "0.0"),
    "detector 0e0": _literal_in_data_id("detector", "0e0"),
    "detector -0": _literal_in_data_id("detector", "-0"),
    "detector -0.0": _literal_in_data_id("detector", "-0.0"),
    "detector 10e-1": _literal_in_data_id("detector", "10e-1"),
    "detector nan": _literal_in_data_id("detector", "NaN"),
    "detector a long number": _literal_in_data_id("detector", "9" * 25),
    "detector a large float": _literal_in_data_id("detector", "1e25"),
    "instrument a number": _in_data_id(lambda name: 5, "instrument", _ALL),
    "instrument in lower case": _in_data_id(str.lower, "instrument", _ALL),
    "group a number": lambda event: (
        _record(event, "group").update(name="12345"),
        _record(event, "exposure").update(group="12345"),
        _ref(event, _GROUP)["data_id"].update(group=12345),
        None,
    )[-1],
    "group true": lambda event: (
        _record(event, "group").update(name="1"),
        _record(event, "exposure").update(group="1"),
        _ref(event, _GROUP)["data_id"].update(group=True),
        None,
    )[-1],
    "group with white space": _in_data_id(lambda name: f"{name} ", "group", (_GROUP,)),
    "data ID without instrument": lambda event: _ref(event)["data_id"].pop("instrument") and None,
    "data ID with implied values": _in_data_id(lambda _: 20261123, "day_obs", _WITH_VISIT),
    "data ID with wrong implied values": _in_data_id(lambda _: 1, "day_obs", _WITH_VISIT),
    "data ID with null implied values": _in_data_id(lambda _: None, "day_obs", _WITH_VISIT),
    "data ID with other dimensions": _in_data_id(lambda _: "map", "skymap", _WITH_VISIT),
    "data ID with an unknown dimension": _in_data_id(lambda _: 1, "planet", _WITH_VISIT),
    # A dimension record.
    "record with an unknown field": _in_record("visit", "other", 5),
    "record without a nullable field": _without_in_record("visit", "target_name"),
    "record without a field": _without_in_record("visit", "physical_filter"),
    "record without its id": _without_in_record("visit", "id"),
    "record twice": _record_twice,
    "record of a band": _band,
    "id of a record a string": _in_record("visit", "id", str),
    "id of a record a float": _in_record("visit", "id", float),
    "seq_num a float": _in_record("visit", "seq_num", float),
    "seq_num a string": _in_record("visit", "seq_num", str),
    "seq_num a boolean": _in_record("visit", "seq_num", True),
    "exposure_time an integer": _in_record("visit", "exposure_time", 30),
    "exposure_time a string": _in_record("visit", "exposure_time", "30"),
    "exposure_time a boolean": _in_record("visit", "exposure_time", True),
    "exposure_time a long number": _literal("visit", "exposure_time", "9" * 25),
    "exposure_time nan": _literal("visit", "exposure_time", "NaN"),
    "exposure_time -nan": _literal("visit", "exposure_time", "-NaN"),
    "exposure_time infinity": _literal("visit", "exposure_time", "Infinity"),
    "exposure_time -infinity": _literal("visit", "exposure_time", "-Infinity"),
    "exposure_time 1e999": _literal("visit", "exposure_time", "1e999"),
    "exposure_time 1e-999": _literal("visit", "exposure_time", "1e-999"),
    "exposure_time nan in two records": lambda event: (
        _record(event, "visit").update(exposure_time="mark"),
        _record(event, "exposure").update(exposure_time="mark"),
        _raw(event, mark="NaN"),
    )[-1],
    "seq_num nan": _literal("visit", "seq_num", "NaN"),
    "target_name a number": _in_record("visit", "target_name", 5),
    "target_name empty": _in_record("visit", "target_name", ""),
    "timespan null": _in_record("visit", "timespan", None),
    "timespan of strings": _in_record("visit", "timespan", lambda t: [str(n) for n in t]),
    "timespan of floats": _in_record("visit", "timespan", lambda t: [float(n) for n in t]),
    "timespan of fractions": _in_record("visit", "timespan", [0.5, 1.5]),
    "timespan of booleans": _in_record("visit", "timespan", [False, True]),
    "timespan of one": _in_record("visit", "timespan", [1]),
    "timespan of three": _in_record("visit", "timespan", [1, 2, 3]),
    "timespan backwards": _in_record("visit", "timespan", lambda t: t[::-1]),
    "timespan empty": _in_record("visit", "timespan", [0, 0]),
    "timespan with its name": _in_record("visit", "timespan", lambda t: {"nsec": t}),
    "timespan with its name and more": _in_record(
        "visit", "timespan", lambda t: {"nsec": t, "a": 1}
    ),
    "timespan a string": _in_record("visit", "timespan", "2026-11-24T02:00:00"),
    "timespan of nan": _literal("visit", "timespan", "[NaN, NaN]"),
    "region null": _in_record("visit", "region", None),
    "region in upper case": _in_record("visit", "region", str.upper),
    "region with white space": _in_record("visit", "region", lambda r: f" {r[:2]} {r[2:]}\n"),
    "region of an odd number of digits": _in_record("visit", "region", lambda r: r[:-1]),
    "region empty": _in_record("visit", "region", ""),
    "region of other bytes": _in_record("visit", "region", "ff00"),
    "region a list": _in_record("visit", "region", [1]),
    "region of all": _in_record(
        "visit", "region", "63" + "0000000000000000" * 3 + "0000000000000000"
    ),
    "definition unknown": lambda event: event["dimension_records"][0].update(definition="planet"),
    "definition null": lambda event: event["dimension_records"][0].update(definition=None),
    "record with an unknown key": lambda event: event["dimension_records"][0].update(other=1),
    "record null": lambda event: event["dimension_records"][0].update(record=None),
    "record of a missing instrument": _in_record("visit", "instrument", "Other"),
    # Dataset types.
    "type as registered": _type(),
    "type with its dimensions in another order": _type(
        dimensions=["detector", "exposure", "instrument"]
    ),
    "type with required dimensions only": _type(dimensions=["exposure", "detector"]),
    "type with implied dimensions": _type(
        dimensions=["instrument", "exposure", "detector", "physical_filter", "band", "day_obs"]
    ),
    "type with dimensions twice": _type(dimensions=["exposure", "detector", "detector"]),
    "type with other dimensions": _type(dimensions=["instrument", "exposure"]),
    "type with other dimensions, unused": _type(
        used=False, name="isr_metadata", dimensions=["instrument"]
    ),
    "type with dimensions null": _type(dimensions=None),
    "type with dimensions as a string": _type(dimensions="exposure"),
    "type with dimensions as an object": _type(dimensions={"names": ["exposure", "detector"]}),
    "type with a universe": _type(universe=7),
    "type with an unknown key": _type(other=5),
    "type with isCalibration null": _type(isCalibration=None),
    "type with isCalibration false": _type(isCalibration=False),
    "type with isCalibration 0": _type(isCalibration=0),
    "type with isCalibration true": _type(isCalibration=True),
    "type with parentStorageClass null": _type(parentStorageClass=None),
    "type with parentStorageClass": _type(parentStorageClass="StructuredDataDict"),
    "type with storage class null": _type(storageClass=None),
    "type with a convertible storage class": _type(name=TABLE_TYPE, storageClass="ArrowTable"),
    "type with a convertible class whose package is not installed": _type(
        name=TABLE_TYPE, storageClass="DataFrame"
    ),
    "type with a class that is convertible in one direction": _type(
        name=TABLE_TYPE, storageClass="StructuredDataDict"
    ),
    "type with an incompatible storage class": _type(storageClass="StructuredDataList"),
    "type with an incompatible storage class, unused": _type(
        used=False, name="isr_metadata", storageClass="StructuredDataList"
    ),
    "type with an unknown storage class": _type(storageClass="Unknown"),
    "type with an unknown storage class, unused": _type(
        used=False, name="isr_metadata", storageClass="Unknown"
    ),
    "new type": _type(name="new_log_1"),
    "new type with an unknown storage class": _type(name="new_log_2", storageClass="Unknown"),
    "new type, unused": _type(name="new_log_3", used=False),
    "new type with an empty name": _type(name=""),
    "new type with a strange name": _type(name="new log/4"),
    "new type that is a calibration": _type(name="new_log_5", isCalibration=True),
    "new component": _type(name="isr_log.a", parentStorageClass="StructuredDataDict"),
    "two types of the same name": lambda event: (
        _type(dimensions=["instrument"])(event),
        event["dataset_types"].append(
            {
                "name": "isr_log",
                "storageClass": "StructuredDataDict",
                "dimensions": ["instrument", "exposure", "detector"],
            }
        ),
        None,
    )[-1],
}

#: Events that the deployed service accepts and this one refuses, each with the words by which
#: docs/dead-letters.md names the difference.
REFUSED: dict[str, str] = {
    "chains a string": "`chains`, `staging`, `size` or `checksum`",
    "staging a number": "`chains`, `staging`, `size` or `checksum`",
    "file with size a string": "`chains`, `staging`, `size` or `checksum`",
    "file with size -1": "`chains`, `staging`, `size` or `checksum`",
    "file with checksum a number": "`chains`, `staging`, `size` or `checksum`",
    "file with checksum in upper case": "`chains`, `staging`, `size` or `checksum`",
    "path with a fragment": "A path with `#`",
    "run empty": "An empty run name",
    "run with white space": "A path that is not below",
    "run of other characters": "A path that is not below",
    "run with a control character": "a character that is not printable",
    "run with another direction": "a character that is not printable",
}
