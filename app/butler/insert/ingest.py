"""Insert datasets with ``Butler.ingest``: slower, but with public names only."""

from __future__ import annotations

from collections.abc import Collection

from lsst.daf.butler import Butler, DatasetRef, FileDataset, FormatterV2

from app.butler.events.parsed import Artifact, with_storage_class
from app.butler.insert.batch import Batch, DatasetKey, is_same

__all__ = ["PublicIngest"]


class PublicIngest:
    """Inserts datasets with ``Butler.ingest``, as the service that this one replaces does.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The Butler that is written to.
    refers : `bool`, optional
        Whether artifacts are elsewhere, and datastore records have absolute URIs.
    """

    def __init__(self, butler: Butler, *, refers: bool = False) -> None:
        self._butler = butler
        self._refers = refers
        self._stand_ins: dict[str, type[FormatterV2]] = {}
        self._runs: set[str] = set()

    def lacks_shared(self, batch: Batch) -> bool:
        """Tell whether runs may be missing."""
        return not self._runs.issuperset(_runs(batch))

    def insert_shared(self, batch: Batch) -> None:
        """Register the runs, in the caller's transaction.

        Butler itself adds the dataset types to their summaries, in the transaction of the datasets.
        """
        for run in sorted(_runs(batch)):
            self._butler.collections.register(run)

    def remember_shared(self, batch: Batch) -> None:
        """Remember that the runs are registered; call after the commit."""
        self._runs |= _runs(batch)

    def insert(self, batch: Batch) -> int:
        """Insert the datasets of a batch, in the caller's transaction.

        Returns
        -------
        inserted : `int`
            Number of datasets that were not in the Butler before.

        Raises
        ------
        RefusedEventsError
            If the Butler has one of the ids with another data ID, run or dataset type.
        lsst.daf.butler.registry.ConflictingDefinitionError
            If the Butler has another dataset with one of the data IDs.
        """
        registered = self._butler.get_many_datasets(
            dataset.id for dataset in batch.datasets.values()
        )
        batch.refuse(
            {
                stored.id.bytes: f"dataset {stored.id} is {stored}, but given as {given}"
                for stored in registered
                if not is_same(stored, given := batch.datasets[stored.id.bytes].ref)
            }
        )
        # This reads the datastore records; Butler.stored_many would look for every artifact.
        stored = {
            ref.id.bytes for ref in self._butler.get_many_uris(registered, allow_missing=True)
        }
        missing = batch.datasets.keys() - stored
        # By dataset type, as Butler completes the summary of a run for one type after another: two
        # writers of the same types then cannot deadlock.
        in_order = sorted(batch.sorted_datasets, key=lambda dataset: dataset.ref.datasetType.name)
        artifacts = {id(dataset.artifact): dataset.artifact for dataset in in_order}
        files = [
            FileDataset(self._given(artifact), refs, formatter=self._stand_in(artifact.formatter))
            for artifact in artifacts.values()
            if (refs := _missing(artifact, missing))
        ]
        transfer = "direct" if self._refers else None
        self._butler.ingest(
            *files, transfer=transfer, skip_existing=True, record_validation_info=False
        )
        return len(missing)

    def find_refused(self, batch: Batch) -> None:
        """Do nothing: Butler names one reason at most, and no event."""

    def forget(self) -> None:
        """Do nothing: no lookup is kept that a rollback could invalidate."""

    def _given(self, artifact: Artifact) -> str:
        return next(iter(artifact.recorded_paths.values())) if self._refers else artifact.path

    def _stand_in(self, name: str) -> type[FormatterV2]:
        """Make a class with the name of a formatter, so that the formatter is not imported."""
        known = self._stand_ins.get(name)
        if known is None:

            class StandIn(FormatterV2):
                @classmethod
                def name(cls) -> str:
                    return name

            known = self._stand_ins[name] = StandIn
        return known


def _runs(batch: Batch) -> set[str]:
    return {dataset.ref.run for dataset in batch.datasets.values()}


def _missing(artifact: Artifact, missing: Collection[DatasetKey]) -> list[DatasetRef]:
    """Return the missing datasets of an artifact; the first one as it was written."""
    first, *others = artifact.refs
    refs = [with_storage_class(first, artifact.storage_class), *others]
    return [ref for ref in refs if ref.id.bytes in missing]
