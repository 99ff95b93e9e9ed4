"""The write by ``Butler.ingest``: slower, by public names alone."""

from __future__ import annotations

from lsst.daf.butler import Butler, FileDataset, FormatterV2

from app.butler.insert.batch import Batch, is_same

__all__ = ["PublicPath"]


class PublicPath:
    """Writes datasets as the service that this one replaces does, with ``Butler.ingest``."""

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self._stand_ins: dict[str, type[FormatterV2]] = {}

    def insert(self, batch: Batch) -> int:
        """Write a batch's datasets, inside the caller's transaction.

        Returns
        -------
        inserted : `int`
            How many of them were not there.

        Raises
        ------
        RefusedEventsError
            If a dataset is there already with another data ID.
        lsst.daf.butler.registry.ConflictingDefinitionError
            If a dataset's data ID is there already as another dataset.
        """
        registered = self._butler.get_many_datasets(batch.datasets)
        batch.refuse(
            {
                there.id: f"dataset {there.id} is {there}, but given as {given}"
                for there in registered
                if not is_same(there, given := batch.datasets[there.id].ref)
            }
        )
        # Asks the datastore's records; Butler.stored_many would look for every artifact.
        stored = {ref.id for ref in self._butler.get_many_uris(registered, allow_missing=True)}
        missing = batch.datasets.keys() - stored
        artifacts = {id(dataset.artifact): dataset.artifact for dataset in batch.sorted_datasets}
        files = [
            FileDataset(artifact.path, refs, formatter=self._stand_in(artifact.formatter))
            for artifact in artifacts.values()
            if (refs := [ref for ref in artifact.refs if ref.id in missing])
        ]
        self._butler.ingest(*files, transfer=None, skip_existing=True, record_validation_info=False)
        return len(missing)

    def blame(self, batch: Batch) -> None:
        """Leave it open which event a refused write was over: Butler names one reason at most."""

    def forget(self) -> None:
        """Nothing was looked up that a rollback could take back."""

    def _stand_in(self, name: str) -> type[FormatterV2]:
        """Make a class that carries a formatter's name, so that none need be imported."""
        known = self._stand_ins.get(name)
        if known is None:

            class StandIn(FormatterV2):
                @classmethod
                def name(cls) -> str:
                    return name

            known = self._stand_ins[name] = StandIn
        return known
