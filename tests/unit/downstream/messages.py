"""Messages of the product log, built by hand.

Times are nanoseconds of Unix time.  They are written as TAI with the 37 leap seconds that the IERS
counts since 2017, and not with the service's own conversion.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any
from uuid import UUID

from lsst.daf.butler import DimensionUniverse

from app.downstream.rules import Rules
from app.downstream.rules_file import parse_rules
from app.downstream.selector import Selector

CAMERA = "TestCam"
RUN = f"{CAMERA}/prompt/output-2026-11-23/ApPipe/v1"
SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
LEAP_SECONDS = 37 * SECOND

#: 2026-11-24T02:00:00 UTC
EVENING = 1_795_485_600 * SECOND

#: What stands for 2100-01-01 TAI in a timespan, and so for no end.
NO_END = 4_102_444_800 * SECOND

_ids = count(1)

Fields = dict[str, Any]


@cache
def universe() -> DimensionUniverse:
    """Return the current dimension universe."""
    return DimensionUniverse()


@dataclass
class Message:
    """A message of the product log."""

    datasets: list[Any] = field(default_factory=list)
    dimension_records: list[Any] = field(default_factory=list)
    dataset_types: list[dict[str, Any]] | None = None
    chains: list[str] | None = None
    origin: str = "prompt_processing"


def rules(text: str) -> Rules:
    """Return the rules of a text."""
    return parse_rules(text.encode(), "rules.yaml", universe())


def selector(text: str) -> Selector:
    """Return what selects by the rules of a text."""
    return Selector(rules(text), universe())


def record(definition: str, **values: Any) -> Fields:
    """Return a serialized dimension record."""
    key = {} if definition == "instrument" else {"instrument": CAMERA}
    return {"definition": definition, "record": {**key, **values}}


def timespan(end: int, seconds: int = 30) -> list[int]:
    """Return a serialized timespan that ends at a time."""
    tai = end + LEAP_SECONDS
    return [tai - seconds * SECOND, tai]


def fixed_records(*detectors: int) -> list[Fields]:
    """Return the records that do not depend on the visit."""
    return [
        record("instrument", name=CAMERA),
        record("physical_filter", name="r_57", band="r"),
        record("visit_system", id=2, name="by-seq-start-end"),
        record("day_obs", id=20261123, timespan=timespan(EVENING + 10 * HOUR)),
        *(record("detector", id=n, full_name=f"R{n}") for n in detectors),
    ]


def exposure(number: int, span: object, group: str | None = None, **more: Any) -> Fields:
    """Return the record of an exposure."""
    return record(
        "exposure",
        id=number,
        physical_filter="r_57",
        day_obs=20261123,
        group=group or group_of(number),
        timespan=span,
        **{"can_see_sky": True, **more},
    )


def visit(number: int, span: object) -> Fields:
    """Return the record of a visit."""
    return record(
        "visit",
        id=number,
        physical_filter="r_57",
        day_obs=20261123,
        region="where the telescope pointed",
        timespan=span,
    )


def visit_records(
    number: int, span: object, *detectors: int, can_see_sky: bool | None = True
) -> list[Fields]:
    """Return the records of a visit of one exposure."""
    return [
        record("group", name=group_of(number)),
        exposure(number, span, can_see_sky=can_see_sky),
        visit(number, span),
        record("visit_definition", exposure=number, visit=number),
        record("visit_system_membership", visit_system=2, visit=number),
        *(record("visit_detector_region", detector=n, visit=number) for n in detectors),
    ]


def group_of(number: int) -> str:
    """Return the name of a visit's group."""
    return f"group-{number}"


def ref(name: str, run: str = RUN, **data_id: Any) -> dict[str, Fields]:
    """Return a dataset by its id; its data ID has the instrument, if it has anything."""
    given = {"instrument": CAMERA, **data_id} if data_id else {}
    fields = {"dataset_type_name": name, "run": run, "data_id": given}
    return {str(UUID(int=next(_ids))): fields}


def artifact(*refs: dict[str, Fields]) -> Fields:
    """Return a file that holds some datasets."""
    merged = {dataset_id: given for each in refs for dataset_id, given in each.items()}
    return {"refs": merged, "path": f"file-{next(_ids)}", "formatter": None}


def dataset(name: str, run: str = RUN, **data_id: Any) -> Fields:
    """Return a file that holds one dataset."""
    return artifact(ref(name, run, **data_id))


def ids(datasets: list[Any]) -> set[str]:
    """Return the ids of the datasets of some files."""
    return {dataset_id for each in datasets for dataset_id in each["refs"]}


def names(records: list[Any]) -> set[tuple[Any, ...]]:
    """Return element and key of some records, the instrument left out."""
    keys = {
        "instrument": ("name",),
        "physical_filter": ("name",),
        "visit_system": ("id",),
        "day_obs": ("id",),
        "detector": ("id",),
        "group": ("name",),
        "exposure": ("id",),
        "visit": ("id",),
        "visit_definition": ("exposure", "visit"),
        "visit_system_membership": ("visit_system", "visit"),
        "visit_detector_region": ("detector", "visit"),
    }
    return {
        (given["definition"], *(given["record"][key] for key in keys[given["definition"]]))
        for given in records
    }
