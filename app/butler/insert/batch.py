"""What one transaction writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lsst.daf.butler import DatasetId, DatasetRef

from app.butler.events.parsed import Artifact, ParsedEvent
from app.butler.outcome import Rejection

__all__ = ["Batch", "Dataset", "RefusedEventsError", "is_same"]

_CONFLICT = "ConflictingDefinitionError"


class RefusedEventsError(Exception):
    """Some events of a batch can never be written; of the others, nothing is said.

    Attributes
    ----------
    rejections : `~collections.abc.Mapping` [`int`, `Rejection`]
        Why, by the event's position in the batch; not empty.
    """

    def __init__(self, rejections: Mapping[int, Rejection]) -> None:
        super().__init__(f"{len(rejections)} events: {next(iter(rejections.values())).reason}")
        self.rejections = rejections


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset, and the artifact that holds it.

    Attributes
    ----------
    id : `lsst.daf.butler.DatasetId`
        The dataset's id; a ref makes a new object of it whenever it is asked.
    ref : `lsst.daf.butler.DatasetRef`
        The dataset.
    artifact : `Artifact`
        The file.
    """

    id: DatasetId
    ref: DatasetRef
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction writes.

    Attributes
    ----------
    events : `~collections.abc.Sequence` [`ParsedEvent`]
        The events that it is made of.
    datasets : `dict` [`lsst.daf.butler.DatasetId`, `Dataset`]
        Each dataset once, in the order of their arrival.
    """

    events: Sequence[ParsedEvent]
    datasets: dict[DatasetId, Dataset]

    @classmethod
    def of(cls, events: Sequence[ParsedEvent]) -> Batch:
        """Put events together.

        Raises
        ------
        RefusedEventsError
            If a dataset is given as another than by an earlier event.
        """
        datasets: dict[DatasetId, Dataset] = {}
        refused: dict[int, Rejection] = {}
        for position, event in enumerate(events):
            for artifact in event.artifacts:
                for ref in artifact.refs:
                    dataset_id = ref.id
                    first = datasets.setdefault(dataset_id, Dataset(dataset_id, ref, artifact))
                    if first.ref is not ref and (reason := _difference(first, ref, artifact)):
                        refused.setdefault(position, Rejection(_CONFLICT, reason))
        if refused:
            raise RefusedEventsError(refused)
        return cls(events, datasets)

    @property
    def sorted_datasets(self) -> list[Dataset]:
        """The datasets, sorted by their ids.

        Two writers of the same rows then take their locks in the same order (unsorted, 4 of 30 runs
        ended in a deadlock; sorted, none).
        """
        return sorted(self.datasets.values(), key=lambda dataset: dataset.id.int)

    def refuse(self, conflicts: Mapping[DatasetId, str]) -> None:
        """Refuse the events that hold some datasets, if any.

        Parameters
        ----------
        conflicts : `~collections.abc.Mapping` [`lsst.daf.butler.DatasetId`, `str`]
            Why each of these datasets cannot be written.

        Raises
        ------
        RefusedEventsError
            If there is one.
        """
        if not conflicts:
            return
        refused: dict[int, Rejection] = {}
        for position, event in enumerate(self.events):
            for ref in event.refs:
                if ref.id in conflicts:
                    refused.setdefault(position, Rejection(_CONFLICT, conflicts[ref.id]))
        raise RefusedEventsError(refused)


def is_same(one: DatasetRef, other: DatasetRef) -> bool:
    """Tell whether two datasets of one id are the same."""
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
