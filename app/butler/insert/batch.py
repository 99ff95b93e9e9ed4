"""The content of one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeAlias

from lsst.daf.butler import DatasetId, DatasetRef

from app.butler.events.parsed import Artifact, ParsedEvent
from app.butler.outcome import Rejection
from models.causes import Cause

__all__ = ["Batch", "Dataset", "DatasetKey", "RefusedEventsError", "is_same"]

DatasetKey: TypeAlias = bytes
"""The bytes of a dataset's id.

Whoever sends an event chooses the ids.  Python's hash of bytes cannot be foreseen, unlike that of a
UUID: with chosen ids, all keys of a dictionary could have the same hash.
"""


class RefusedEventsError(Exception):
    """Some events of a batch can never be written; the others may be, without them.

    Attributes
    ----------
    rejections : `~collections.abc.Mapping` [`ParsedEvent`, `Rejection`]
        Why each of these events cannot be written; not empty.
    paths : `~collections.abc.Mapping` [`ParsedEvent`, `~collections.abc.Collection` [`str`]]
        The paths of the artifacts for which an event cannot be written, if it can be without them.
    """

    def __init__(
        self,
        rejections: Mapping[ParsedEvent, Rejection],
        paths: Mapping[ParsedEvent, Collection[str]] | None = None,
    ) -> None:
        super().__init__(f"{len(rejections)} events: {next(iter(rejections.values())).reason}")
        self.rejections = rejections
        self.paths = paths or {}


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset, and the artifact that contains it.

    Attributes
    ----------
    key : `DatasetKey`
        The bytes of the dataset's id.
    id : `lsst.daf.butler.DatasetId`
        The dataset's id, kept since a ref makes a new object at each access.
    ref : `lsst.daf.butler.DatasetRef`
        The dataset.
    artifact : `Artifact`
        The file.
    """

    key: DatasetKey
    id: DatasetId
    ref: DatasetRef
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class Batch:
    """The content of one transaction.

    Attributes
    ----------
    events : `~collections.abc.Sequence` [`ParsedEvent`]
        The events.
    datasets : `dict` [`DatasetKey`, `Dataset`]
        Their datasets, each once, in the order of the events.
    """

    events: Sequence[ParsedEvent]
    datasets: dict[DatasetKey, Dataset]

    @classmethod
    def of(cls, events: Sequence[ParsedEvent]) -> Batch:
        """Return the batch of some events.

        Raises
        ------
        RefusedEventsError
            If two events give the same dataset id to different datasets.
        """
        datasets: dict[DatasetKey, Dataset] = {}
        refused: dict[ParsedEvent, Rejection] = {}
        paths: defaultdict[ParsedEvent, set[str]] = defaultdict(set)
        for event in events:
            for artifact in event.artifacts:
                for ref in artifact.refs:
                    dataset_id = ref.id
                    key = dataset_id.bytes
                    first = datasets.setdefault(key, Dataset(key, dataset_id, ref, artifact))
                    if first.ref is not ref and (reason := _difference(first, ref, artifact)):
                        refused.setdefault(event, Rejection(Cause.CONFLICT, reason))
                        paths[event].add(artifact.path)
        if refused:
            raise RefusedEventsError(refused, paths)
        return cls(events, datasets)

    @property
    def sorted_datasets(self) -> list[Dataset]:
        """The datasets, sorted by id.

        Two writers of the same rows then take their locks in the same order.  (Unsorted, 4 of 30
        runs ended in a deadlock; sorted, none.)
        """
        return sorted(self.datasets.values(), key=attrgetter("key"))

    def refuse(self, conflicts: Mapping[DatasetKey, str]) -> None:
        """Refuse the events that have one of some datasets.

        Parameters
        ----------
        conflicts : `~collections.abc.Mapping` [`DatasetKey`, `str`]
            Why each of these datasets cannot be written; if empty, nothing happens.

        Raises
        ------
        RefusedEventsError
            If there are conflicts.
        """
        if not conflicts:
            return
        refused: dict[ParsedEvent, Rejection] = {}
        paths: defaultdict[ParsedEvent, set[str]] = defaultdict(set)
        for event in self.events:
            for artifact in event.artifacts:
                for ref in artifact.refs:
                    if (key := ref.id.bytes) in conflicts:
                        refused.setdefault(event, Rejection(Cause.CONFLICT, conflicts[key]))
                        paths[event].add(artifact.path)
        raise RefusedEventsError(refused, paths)


def is_same(one: DatasetRef, other: DatasetRef) -> bool:
    """Tell whether two refs with the same id are the same dataset."""
    return (
        one.run == other.run
        and one.datasetType.name == other.datasetType.name
        and one.dataId.required_values == other.dataId.required_values
    )


def _difference(first: Dataset, ref: DatasetRef, artifact: Artifact) -> str | None:
    if not is_same(first.ref, ref):
        return f"dataset {ref.id} is {first.ref} in another event, but given as {ref}"
    if first.artifact.path != artifact.path:
        return (
            f"dataset {ref.id} is in {first.artifact.path!r} in another event, "
            f"but in {artifact.path!r} here"
        )
    return None
