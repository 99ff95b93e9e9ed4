"""The dataset types of the repository, and those that events bring along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lsst.daf.butler import Butler, DatasetType, SerializedDatasetType
from lsst.daf.butler.registry import ConflictingDefinitionError

from app.butler.private.registry import make_tables
from models.errors import InvalidEventError

__all__ = ["DatasetTypes"]


class DatasetTypes:
    """The dataset types of a repository, looked up once."""

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self._known: dict[str, DatasetType] = {}

    def get(self, name: str) -> DatasetType:
        """Return a dataset type of the repository.

        Raises
        ------
        InvalidEventError
            If it is a component: those are read, never written.
        lsst.daf.butler.MissingDatasetTypeError
            If it has not been registered.
        """
        known = self._known.get(name)
        if known is None:
            known = self._butler.get_dataset_type(name)
            if known.isComponent():
                raise InvalidEventError(f"dataset type {name!r} is a component")
            self._known[name] = known
        return known

    def register(self, given: Sequence[dict[str, Any]]) -> None:
        """Register the dataset types of an event that the repository lacks.

        Not in the transaction of the window's write: a new type may need a new table.

        Raises
        ------
        InvalidEventError
            If one of them is no dataset type of this dimension universe.
        lsst.daf.butler.registry.ConflictingDefinitionError
            If the repository defines one of them otherwise.
        """
        if not isinstance(given, list):
            raise InvalidEventError(f"dataset_types {given!r} is not a list")
        for fields in given:
            dataset_type = self._read(fields)
            known = self._known.get(dataset_type.name)
            if known is None:
                make_tables(self._butler, dataset_type)
                self._butler.registry.registerDatasetType(dataset_type)
                self._known[dataset_type.name] = dataset_type
            elif known != dataset_type:
                raise ConflictingDefinitionError(
                    f"dataset type {dataset_type.name!r} is {known} in the repository, "
                    f"but {dataset_type} in the event"
                )

    def _read(self, fields: dict[str, Any]) -> DatasetType:
        try:
            dataset_type = DatasetType.from_simple(
                SerializedDatasetType.model_validate(fields), universe=self._butler.dimensions
            )
            dataset_type.storageClass  # noqa: B018  it is looked up only now
        except Exception as exc:  # whatever its fields raise, it is not one of ours
            raise InvalidEventError(f"not a dataset type of this repository: {exc}") from exc
        if dataset_type.isComponent():
            raise InvalidEventError(f"dataset type {dataset_type.name!r} is a component")
        return dataset_type
