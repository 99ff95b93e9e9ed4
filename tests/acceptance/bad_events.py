"""Every kind of event that can never be written."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeAlias
from uuid import UUID

from tests.support.events import encode

__all__ = ["KINDS", "conflicting", "renewed", "spoil"]

Event: TypeAlias = dict[str, Any]


def spoil(event: Event, rng: random.Random) -> bytes:
    """Return a bad event made from an event, with new datasets."""
    return rng.choice(KINDS)(renewed(event, rng, run="spoiled/run"))


def conflicting(event: Event) -> bytes:
    """Return an event with other datasets of the same data IDs in the same run."""
    return encode(renewed(event, random.Random(0)))


def renewed(event: Event, rng: random.Random, **changes: str) -> Event:
    """Return an event with new datasets, and other fields in their references."""
    renewed = deepcopy(event)
    for dataset in renewed["datasets"]:
        dataset["refs"] = {
            str(UUID(int=rng.getrandbits(128), version=4)): {**ref, **changes}
            for ref in dataset["refs"].values()
        }
    return renewed


def _first_ref(event: Event) -> dict[str, Any]:
    ref: dict[str, Any] = next(iter(event["datasets"][0]["refs"].values()))
    return ref


def not_json(event: Event) -> bytes:
    """Return an event that is cut off in the middle."""
    return encode(event)[: len(encode(event)) // 2]


def other_shape(event: Event) -> bytes:
    """Return an event whose datasets are a string."""
    return encode({**event, "datasets": "none"})


def other_type(event: Event) -> bytes:
    """Return a message of another type."""
    return encode({**event, "type": "next-visit"})


def unknown_dataset_type(event: Event) -> bytes:
    """Return an event with a dataset type that is not registered."""
    _first_ref(event)["dataset_type_name"] = "never_registered"
    return encode(event)


def different_dataset_type(event: Event) -> bytes:
    """Return an event that defines a dataset type differently than the repository."""
    differing = {
        "name": "isr_log",
        "storageClass": "Config",
        "dimensions": [],
        "isCalibration": False,
    }
    return encode({**event, "dataset_types": [differing]})


def missing_dimension_record(event: Event) -> bytes:
    """Return an event with a detector that the instrument does not have."""
    _first_ref(event)["data_id"]["detector"] = 999
    return encode(event)


def path_outside(event: Event) -> bytes:
    """Return an event with an artifact outside the datastore."""
    event["datasets"][0]["path"] = "../../outside.json"
    return encode(event)


def formatter_not_allowed(event: Event) -> bytes:
    """Return an event with a formatter that is not on the allow-list."""
    event["datasets"][0]["formatter"] = "os.system"
    return encode(event)


def missing_file(event: Event) -> bytes:
    """Return an event with an artifact that was never written."""
    event["datasets"][0]["path"] += ".missing"
    return encode(event)


KINDS: list[Callable[[Event], bytes]] = [
    not_json,
    other_shape,
    other_type,
    unknown_dataset_type,
    different_dataset_type,
    missing_dimension_record,
    path_outside,
    formatter_not_allowed,
    missing_file,
]
