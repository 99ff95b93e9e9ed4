"""Events that can never be written, as a faulty pod might send them."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeAlias
from uuid import UUID

from simulator.event import encode_event

__all__ = ["spoil"]

Event: TypeAlias = dict[str, Any]


def spoil(event: Event, rng: random.Random) -> bytes:
    """Return a spoiled copy of an event, with new datasets and one error."""
    spoiled = deepcopy(event)
    for dataset in spoiled["datasets"]:
        dataset["refs"] = {
            str(UUID(int=rng.getrandbits(128), version=4)): {**ref, "run": f"{ref['run']}-spoiled"}
            for ref in dataset["refs"].values()
        }
    return rng.choice(_WAYS)(spoiled)


def _cut_off(event: Event) -> bytes:
    value = encode_event(event)
    return value[: len(value) // 2]


def _unknown_dataset_type(event: Event) -> bytes:
    for ref in event["datasets"][-1]["refs"].values():
        ref["dataset_type_name"] = "never_registered"
    return encode_event(event)


def _missing_file(event: Event) -> bytes:
    event["datasets"][-1]["path"] += ".never-written"
    return encode_event(event)


def _path_outside(event: Event) -> bytes:
    event["datasets"][-1]["path"] = "../../etc/passwd"
    return encode_event(event)


_WAYS: list[Callable[[Event], bytes]] = [
    _cut_off,
    _unknown_dataset_type,
    _missing_file,
    _path_outside,
]
