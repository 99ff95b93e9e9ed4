"""Look up dataset types, and register those that events bring."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from lsst.daf.butler import Butler, DatasetType, MissingDatasetTypeError, SerializedDatasetType
from lsst.daf.butler.registry import ConflictingDefinitionError
from sqlalchemy.exc import DBAPIError

from app.butler.failures import cause_of
from app.butler.private.registry import RegistryTables, engine_of, make_tables
from app.butler.private.rights import current_role
from app.butler.private.storage_classes import are_convertible
from app.butler.repository.new_types import NewTypes
from models.causes import Cause
from models.errors import InvalidEventError

__all__ = ["DatasetTypes"]

_LOCKED = ("dimension_graph_key", "dimension_graph_definition")


class DatasetTypes:
    """The dataset types of a repository; each is looked up once (rule lookups-expire).

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    new_types : `NewTypes`
        Counts those that events add.

    Attributes
    ----------
    is_outdated : `bool`
        Set by whoever finds that a dataset type has changed; `forget_outdated` then looks all up
        again.  It may be set by another thread.
    """

    def __init__(self, butler: Butler, new_types: NewTypes) -> None:
        self._butler = butler
        self._new_types = new_types
        self._known: dict[str, DatasetType] = {}
        self.is_outdated = False

    def forget_outdated(self) -> None:
        """Forget all dataset types if they are known to be outdated."""
        if self.is_outdated:
            self.is_outdated = False
            self._known.clear()
            self._butler.registry.refresh()

    def look_again(self) -> bool:
        """Ask the repository whether the dataset types have changed; if so, forget them."""
        if RegistryTables(self._butler).are_current(self._known):
            return False
        self.is_outdated = True
        self.forget_outdated()
        return True

    def get(self, name: str) -> DatasetType:
        """Return a dataset type of the repository.

        Raises
        ------
        InvalidEventError
            If it is a component, which can only be read.
        lsst.daf.butler.MissingDatasetTypeError
            If it is not registered.
        """
        known = self._known.get(name)
        if known is None:
            known = self._butler.get_dataset_type(name)
            if known.isComponent():
                raise InvalidEventError(f"dataset type {name!r} is a component")
            self._known[name] = known
        return known

    def register(self, given: Sequence[dict[str, Any]], used: Container[str]) -> None:
        """Register those dataset types of an event that the repository does not have.

        This does not happen in the transaction of the window: a new type may need a new table.

        Parameters
        ----------
        given : `~collections.abc.Sequence` [`dict`]
            Serialized dataset types.
        used : `~collections.abc.Container` [`str`]
            The names of the dataset types that the event's datasets have.  As in the deployed
            service, the others are read and otherwise ignored.

        Raises
        ------
        InvalidEventError
            If one of them is not a valid dataset type in this dimension universe.
        lsst.daf.butler.registry.ConflictingDefinitionError
            If the repository has a different definition of one of them.  Another storage class is
            accepted if it can be converted; the repository's one stays.
        NotAllowedError
            If there are more new ones than may be registered; none of them is.
        """
        if not isinstance(given, list):
            raise InvalidEventError(f"dataset_types {given!r} is not a list")
        # Of several with the same name, the last one counts, as in the deployed service.
        new: list[DatasetType] = []
        for dataset_type in {kind.name: kind for kind in map(self._read, given)}.values():
            if dataset_type.name not in used:
                continue
            _check_usable(dataset_type)
            if not self._is_known(dataset_type.name):
                new.append(dataset_type)
            else:
                _check_same(self._known[dataset_type.name], dataset_type)
        if not new:
            return
        with self._new_types.registering([kind.name for kind in new]):
            for dataset_type in new:
                known = self._known[dataset_type.name] = self._registered(dataset_type)
                _check_same(known, dataset_type)

    def conflicting(self, given: Sequence[dict[str, Any]]) -> set[str]:
        """Return the names of the dataset types of which the repository has another definition.

        Parameters
        ----------
        given : `~collections.abc.Sequence` [`dict`]
            Serialized dataset types.
        """
        types = map(self._read, given)
        return {
            kind.name
            for kind in types
            if self._is_known(kind.name) and not _is_same(self._known[kind.name], kind)
        }

    def _is_known(self, name: str) -> bool:
        """Tell whether the repository has a dataset type, and remember it."""
        if name not in self._known:
            try:
                self._known[name] = self._butler.get_dataset_type(name)
            except MissingDatasetTypeError:
                return False
        return True

    def _registered(self, given: DatasetType) -> DatasetType:
        """Register a dataset type; return it as the repository has it."""
        try:
            make_tables(self._butler, given)
            self._butler.registry.registerDatasetType(given)
        except ConflictingDefinitionError:  # another worker has just registered a different one
            return self._butler.get_dataset_type(given.name)
        except DBAPIError as exc:
            if cause_of(exc) is Cause.MISSING_RIGHT:
                raise RuntimeError(self._required_rights(given.name)) from exc
            raise
        return given

    def _required_rights(self, name: str) -> str:
        with engine_of(self._butler).connect() as connection:
            role = current_role(connection)
        schema = RegistryTables(self._butler).dataset.schema
        # Butler locks the tables of the dimensions that are used together.
        locked = ", ".join(f"{schema}.{table}" for table in _LOCKED)
        return (
            f"to register the dataset type {name!r}: GRANT CREATE ON SCHEMA {schema} TO {role}; "
            f"GRANT SELECT, INSERT, REFERENCES ON ALL TABLES IN SCHEMA {schema} TO {role}; "
            f"GRANT UPDATE ON {locked} TO {role}"
        )

    def _read(self, fields: dict[str, Any]) -> DatasetType:
        try:
            return DatasetType.from_simple(
                SerializedDatasetType.model_validate(fields), universe=self._butler.dimensions
            )
        except Exception as exc:  # invalid fields raise many types
            raise _invalid(exc) from exc


def _check_same(known: DatasetType, given: DatasetType) -> None:
    if not _is_same(known, given):
        raise ConflictingDefinitionError(
            f"dataset type {given.name!r} is {known} in the repository, but {given} in the event"
        )


def _is_same(known: DatasetType, given: DatasetType) -> bool:
    return known == given or are_convertible(known, given)


def _check_usable(dataset_type: DatasetType) -> None:
    """Check that datasets of a type can be written."""
    try:
        dataset_type.storageClass  # noqa: B018  the access looks it up
    except Exception as exc:
        raise _invalid(exc) from exc
    if dataset_type.isComponent():
        raise InvalidEventError(f"dataset type {dataset_type.name!r} is a component")


def _invalid(error: Exception) -> InvalidEventError:
    return InvalidEventError(f"not a valid dataset type: {error}")
