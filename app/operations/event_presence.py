"""Whether the datasets of events are in the Butler, as the events give them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar
from uuid import UUID

from app.butler.descriptions import describe
from app.butler.events.limits import EventLimits
from app.butler.events.proportion import check_message, check_proportion, used_dataset_types
from app.operations.presence import GivenDataset, Presence
from app.settings import MIB
from models.errors import InvalidEventError, OverLimitError
from models.prompt_output import PromptOutput

__all__ = ["EventPresence", "GivenEvent", "are_written", "chunks_of", "datasets_of", "look_up"]

T = TypeVar("T")

#: Most bytes of the events that are looked up in one call, except that one event may have more.  A
#: decoded event can take 25 times its bytes.
_LARGEST_CHUNK = 8 * MIB


#: Matches an id in the usual notation; pods may use any other one.
_USUAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


@dataclass(frozen=True, slots=True)
class GivenEvent:
    """What an event says of its datasets.

    Attributes
    ----------
    datasets : `~collections.abc.Mapping` or `None`
        Its datasets by id; `None` if it cannot be decoded.
    excess : `str`
        What it has too much of, if that is why.
    """

    datasets: Mapping[str, GivenDataset] | None = None
    excess: str = ""


def datasets_of(value: bytes | None, limits: EventLimits) -> GivenEvent:
    """Return the datasets of an event.

    What a worker refuses before it parses an event is refused here too: to decode it, or to look
    for all its runs, would take the memory and the time that the limits save a worker.

    Parameters
    ----------
    value : `bytes` or `None`
        The value of the event's message.
    limits : `EventLimits`
        How much an event may have.
    """
    try:
        check_message(None, value, {}, limits)
        output = PromptOutput.decode(value)
        check_proportion(output, limits)
        number = len(used_dataset_types(output))
        limits.check("max_dataset_types", "the event uses {} dataset types", number)
        datasets: dict[str, GivenDataset] = {
            (dataset_id if _USUAL(dataset_id) else str(UUID(dataset_id))): ref
            for dataset in output.datasets
            for dataset_id, ref in dataset["refs"].items()
        }
    except OverLimitError as exc:
        return GivenEvent(excess=describe(exc))
    except (InvalidEventError, ValueError, TypeError, KeyError, AttributeError):
        return GivenEvent()
    return GivenEvent(datasets if all(isinstance(r, dict) for r in datasets.values()) else None)


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


def look_up(presence: Presence, events: Sequence[GivenEvent]) -> list[EventPresence]:
    """Look up the datasets of events.

    Parameters
    ----------
    presence : `Presence`
        Looks up datasets in the repository.
    events : `~collections.abc.Sequence` [`GivenEvent`]
        The events.
    """
    given = [event.datasets or {} for event in events]
    registered = presence.registered(chain.from_iterable(each.items() for each in given))
    has = registered.has
    absent = [
        tuple(sorted([dataset_id for dataset_id, ref in each.items() if not has(dataset_id, ref)]))
        for each in given
    ]
    complete = [each for each, missing in zip(given, absent, strict=True) if not missing]
    readable = presence.readable(set(chain.from_iterable(complete)))
    return [
        EventPresence(
            datasets=len(each),
            missing=missing,
            is_readable=not missing and each.keys() <= readable,
        )
        for each, missing in zip(given, absent, strict=True)
    ]


def are_written(
    presence: Presence, values: Sequence[bytes | None], limits: EventLimits
) -> list[bool]:
    """Return for each event whether all its datasets are in the Butler, and readable.

    Parameters
    ----------
    presence : `Presence`
        Looks up datasets in the repository.
    values : `~collections.abc.Sequence` [`bytes` or `None`]
        The values of the events' messages.
    limits : `EventLimits`
        How much an event may have; one that has more is not looked up.
    """
    found = look_up(presence, [datasets_of(value, limits) for value in values])
    return [each.datasets > 0 and each.is_readable for each in found]


async def chunks_of(
    items: AsyncIterable[T], most: int, value_of: Callable[[T], bytes | None]
) -> AsyncIterator[list[T]]:
    """Divide what is read from a topic into chunks that are looked up in one call.

    Parameters
    ----------
    items : `~collections.abc.AsyncIterable`
        What is divided.
    most : `int`
        Largest number of items in a chunk.
    value_of : `~collections.abc.Callable`
        Returns the event that an item has.
    """
    chunk: list[T] = []
    size = 0
    async for item in items:
        chunk.append(item)
        size += len(value_of(item) or b"")
        if len(chunk) == most or size >= _LARGEST_CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
