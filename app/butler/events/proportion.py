"""Refuse events whose work would be out of proportion to their bytes.

A few bytes can ask for a great deal of work: a list of runs and one of chains are multiplied, and
two bytes of JSON can become an object of 200.  So what an event has is counted before it is
decoded, and again before it is parsed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.butler.events.content import check_content, check_name
from app.butler.events.limits import EventLimits
from models.fields import EventContent

__all__ = ["check_message", "check_proportion", "used_dataset_types"]


def check_message(
    key: bytes | None,
    value: bytes | None,
    headers: Mapping[str, bytes | None],
    limits: EventLimits,
) -> None:
    """Check a message before it is decoded.

    Parameters
    ----------
    key, value : `bytes` or `None`
        Its key and its value.
    headers : `~collections.abc.Mapping` [`str`, `bytes`]
        Its headers.
    limits : `EventLimits`
        How much it may have.

    Raises
    ------
    OverLimitError
        If its key or its headers are too long, or its value has too many parts: an object of a few
        bytes takes 200 when it is decoded.
    """
    limits.check("max_key_bytes", "the key of the message has {} bytes", len(key or b""))
    size = sum(len(name) + len(content or b"") for name, content in headers.items())
    limits.check("max_header_bytes", "the headers of the message have {} bytes", size)
    # Counting takes 1 ms for a megabyte, and a shorter message cannot have so many.
    if value is not None and len(value) > limits.max_json_values:
        number = sum(map(value.count, (b"{", b"[", b",")))
        limits.check("max_json_values", "the message has {} objects, lists and values", number)


def check_proportion(event: EventContent, limits: EventLimits) -> None:
    """Check an event before it is parsed; its shape need not be right.

    Raises
    ------
    InvalidEventError
        If the event asks for more work than any pod needs, or names a run with a wrong name.
    """
    limits.check("max_files", "the event has {} files", len(event.datasets))
    limits.check(
        "max_dimension_records",
        "the event has {} dimension records",
        len(event.dimension_records),
    )
    _check_refs(event, limits)
    if isinstance(event.dataset_types, list):
        number = len(event.dataset_types)
        limits.check("max_dataset_types", "the event defines {} dataset types", number)
        for given in event.dataset_types:
            _check_dataset_type(given, limits)
    size = sum(_region_sizes(event.dimension_records, limits))
    limits.check("max_event_region_bytes", "the regions of the event have {} bytes", size)


def used_dataset_types(event: EventContent) -> set[str]:
    """Return the names of the dataset types of an event's datasets; its shape need not be right."""
    return {
        name
        for refs in _refs(event.datasets)
        for ref in refs.values()
        if isinstance(ref, dict) and isinstance(name := ref.get("dataset_type_name"), str)
    }


def _check_refs(event: EventContent, limits: EventLimits) -> None:
    number = 0
    runs: set[str] = set()
    for refs in _refs(event.datasets):
        number += len(refs)
        runs.update(
            run
            for ref in refs.values()
            if isinstance(ref, dict) and isinstance(run := ref.get("run"), str)
        )
    limits.check("max_datasets", "the event has {} datasets", number)
    limits.check("max_runs", "the event has {} runs", len(runs))
    for run in runs:
        check_name("run", run, limits)
    if isinstance(event.chains, list):
        pairs = len(runs) * len(event.chains)
        limits.check("max_chain_pairs", "the event has {} pairs of a run and a chain", pairs)
        for chain in event.chains:
            if isinstance(chain, str):
                check_name("chain", chain, limits)


def _check_dataset_type(given: Any, limits: EventLimits) -> None:
    if isinstance(given, dict):
        if isinstance(name := given.get("name"), str):
            check_name("dataset type", name, limits)
        check_content("a dataset type", given, limits)


def _region_sizes(records: Iterable[Any], limits: EventLimits) -> Iterator[int]:
    """Yield the size of each region in bytes, about."""
    for given in records:
        record = given.get("record") if isinstance(given, dict) else None
        region = record.get("region") if isinstance(record, dict) else None
        if isinstance(region, str):
            size = len(region) // 2  # hexadecimal
            limits.check("max_region_bytes", "a region of the event has {} bytes", size)
            yield size


def _refs(datasets: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield the dataset refs of each file, by their ids."""
    for given in datasets:
        refs = given.get("refs") if isinstance(given, dict) else None
        if isinstance(refs, dict):
            yield refs
