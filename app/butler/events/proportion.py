"""Refuse events whose work would be out of proportion to their bytes.

A few bytes can ask for a great deal of work: a circle of 41 bytes overlaps half of the sky, and a
list of runs and one of chains are multiplied.  What is limited here is far beyond what a pod sends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.errors import InvalidEventError
from models.fields import EventContent

__all__ = [
    "MAX_CHAIN_PAIRS",
    "MAX_DATASET_TYPES",
    "MAX_REGION_BYTES",
    "MAX_RUNS",
    "check_proportion",
    "used_dataset_types",
]

#: Largest size of an encoded region, in bytes: a polygon of 680 vertices.  Regions may be nested,
#: and those of 580 kB that were 10,000 deep ended the process with a segmentation fault (our
#: measurement).  The polygon around a focal plane has about 1 kB.
MAX_REGION_BYTES = 16_384

#: Largest number of an event's runs: each one is registered on its own.  A pod's event has one.
MAX_RUNS = 100

#: Largest number of an event's pairs of a run and a chain: each one is looked up on its own.
MAX_CHAIN_PAIRS = 100

#: Largest number of dataset types that an event defines: each one is compared on its own.
MAX_DATASET_TYPES = 1000


def check_proportion(event: EventContent) -> None:
    """Check an event before it is parsed; its shape need not be right.

    Raises
    ------
    InvalidEventError
        If the event asks for more work than any pod needs.
    """
    for definition, size in _regions(event.dimension_records):
        if size > MAX_REGION_BYTES:
            raise InvalidEventError(
                f"the region of a {definition!r} record has {size} bytes, "
                f"more than the limit of {MAX_REGION_BYTES}"
            )
    runs = len(set(_values_of_refs(event.datasets, "run")))
    _check_number("runs", runs, MAX_RUNS)
    if isinstance(event.chains, list):
        _check_number("pairs of a run and a chain", runs * len(event.chains), MAX_CHAIN_PAIRS)
    if isinstance(event.dataset_types, list):
        _check_number("dataset types", len(event.dataset_types), MAX_DATASET_TYPES)


def used_dataset_types(event: EventContent) -> set[str]:
    """Return the names of the dataset types of an event's datasets; its shape need not be right."""
    return set(_values_of_refs(event.datasets, "dataset_type_name"))


def _check_number(what: str, number: int, limit: int) -> None:
    if number > limit:
        raise InvalidEventError(f"the event has {number} {what}, more than the limit of {limit}")


def _regions(records: Any) -> Iterator[tuple[Any, int]]:
    """Yield the element of each record that has a region, and the size of the region."""
    for given in records if isinstance(records, list) else ():
        record = given.get("record") if isinstance(given, dict) else None
        region = record.get("region") if isinstance(record, dict) else None
        if isinstance(region, str):
            yield given.get("definition"), len(region) // 2  # hexadecimal


def _values_of_refs(datasets: Any, field: str) -> Iterator[str]:
    """Yield a field of each dataset ref, where it is a string."""
    for given in datasets if isinstance(datasets, list) else ():
        refs = given.get("refs") if isinstance(given, dict) else None
        for ref in refs.values() if isinstance(refs, dict) else ():
            value = ref.get(field) if isinstance(ref, dict) else None
            if isinstance(value, str):
                yield value
