"""Whether the datasets of events are in the Butler, as the events give them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from uuid import UUID

from app.operations.presence import GivenDataset, Presence
from models.errors import InvalidEventError
from models.prompt_output import PromptOutput

__all__ = ["EventPresence", "are_written", "datasets_of", "look_up"]


#: Matches an id in the usual notation; pods may use any other one.
_USUAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


def datasets_of(value: bytes | None) -> dict[str, GivenDataset] | None:
    """Return the datasets of an event by id, or `None` if it cannot be decoded.

    Parameters
    ----------
    value : `bytes` or `None`
        The value of the event's message.
    """
    try:
        output = PromptOutput.decode(value)
        datasets: dict[str, GivenDataset] = {
            (dataset_id if _USUAL(dataset_id) else str(UUID(dataset_id))): ref
            for dataset in output.datasets
            for dataset_id, ref in dataset["refs"].items()
        }
    except (InvalidEventError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return datasets if all(isinstance(ref, dict) for ref in datasets.values()) else None


@dataclass(frozen=True, slots=True)
class EventPresence:
    """Which datasets of an event are in the Butler.

    Attributes
    ----------
    datasets : `int`
        How many datasets it has.
    missing : `tuple` [`str`, ...]
        Those that are not registered as the event gives them.
    is_readable : `bool`
        Whether all of them have a datastore record, and all their artifacts.
    """

    datasets: int
    missing: tuple[str, ...]
    is_readable: bool


def look_up(
    presence: Presence, events: Sequence[Mapping[str, GivenDataset] | None]
) -> list[EventPresence]:
    """Look up the datasets of events.

    Parameters
    ----------
    presence : `Presence`
        Looks up datasets in the repository.
    events : `~collections.abc.Sequence`
        The datasets of each event, as `datasets_of` returns them.
    """
    registered = presence.registered(chain.from_iterable(each.items() for each in events if each))
    has = registered.has
    absent = [
        tuple(sorted([i for i, given in (each or {}).items() if not has(i, given)]))
        for each in events
    ]
    complete = [each or {} for each, missing in zip(events, absent, strict=True) if not missing]
    readable = presence.readable(set(chain.from_iterable(complete)))
    return [
        EventPresence(
            datasets=len(each or {}),
            missing=missing,
            is_readable=not missing and (each or {}).keys() <= readable,
        )
        for each, missing in zip(events, absent, strict=True)
    ]


def are_written(presence: Presence, values: Sequence[bytes | None]) -> list[bool]:
    """Return for each event whether all its datasets are in the Butler, and readable.

    Parameters
    ----------
    presence : `Presence`
        Looks up datasets in the repository.
    values : `~collections.abc.Sequence` [`bytes` or `None`]
        The values of the events' messages.
    """
    found = look_up(presence, [datasets_of(value) for value in values])
    return [each.datasets > 0 and each.is_readable for each in found]
