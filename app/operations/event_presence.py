"""Whether the datasets of events are in the Butler, as the events give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any
from uuid import UUID

from lsst.daf.butler import Butler, DatasetRef

from app.butler.repository.presence import DatasetPresence, look_up
from models.errors import InvalidEventError
from models.prompt_output import PromptOutput

__all__ = ["are_written", "datasets_of", "missing_datasets"]


def datasets_of(value: bytes | None) -> dict[UUID, Any] | None:
    """Return the datasets of an event by id, or `None` if it cannot be decoded.

    Parameters
    ----------
    value : `bytes` or `None`
        The value of the event's message.
    """
    try:
        output = PromptOutput.decode(value)
        return {
            UUID(dataset_id): ref
            for dataset in output.datasets
            for dataset_id, ref in dataset["refs"].items()
        }
    except (InvalidEventError, ValueError, TypeError, KeyError, AttributeError):
        return None


def missing_datasets(presence: DatasetPresence, datasets: Mapping[UUID, Any]) -> tuple[UUID, ...]:
    """Return the datasets of an event that are not registered as the event gives them."""
    return tuple(
        sorted(
            dataset_id
            for dataset_id, ref in datasets.items()
            if not _is_registered(presence.registered.get(dataset_id), ref)
        )
    )


def are_written(butler: Butler, values: Sequence[bytes | None]) -> list[bool]:
    """Return for each event whether all its datasets are in the Butler, and readable.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    values : `~collections.abc.Sequence` [`bytes` or `None`]
        The values of the events' messages.
    """
    events = [datasets_of(value) for value in values]
    presence = look_up(butler, set(chain.from_iterable(event for event in events if event)))
    return [
        event is not None
        and len(event) > 0
        and not missing_datasets(presence, event)
        and event.keys() <= presence.readable
        for event in events
    ]


def _is_registered(found: DatasetRef | None, given: Any) -> bool:
    """Return whether a dataset was found with the run, type and data ID of the event."""
    try:
        return (
            found is not None
            and found.run == given["run"]
            and found.datasetType.name == given["dataset_type_name"]
            and all(
                given["data_id"][name] == value for name, value in found.dataId.required.items()
            )
        )
    except (TypeError, KeyError):
        return False
