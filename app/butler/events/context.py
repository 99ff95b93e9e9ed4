"""What the parser needs to know about a repository."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lsst.daf.butler import (
    Butler,
    DataCoordinate,
    DataIdValueError,
    DatasetRef,
    Dimension,
    DimensionElement,
    DimensionGroup,
    SkyPixDimension,
)

from app.butler.events.limits import EventLimits
from app.butler.events.parsed import ParsedRecord, RecordKey
from app.butler.paths import path_in_datastore, uri_inside
from app.butler.policy import ReplicaPolicy, WritePolicy
from app.butler.private.datastores import Datastores, FileStore
from app.butler.repository.dataset_types import DatasetTypes
from models.errors import InvalidEventError

__all__ = ["ParsingContext"]


class ParsingContext:
    """What parsing needs of a repository and the policy; the same for all windows.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Provides the dimension universe.
    policy : `WritePolicy`
        Allowed formatters and staging roots, and the pattern for chains.
    datastores : `Datastores`
        Resolve paths, and provide the default formatters.
    dataset_types : `DatasetTypes`
        The dataset types that an event may use.
    limits : `EventLimits`
        How much an event may have.
    replica : `ReplicaPolicy`, optional
        If the events come from a product log: where the artifacts are.

    Attributes
    ----------
    is_replica : `bool`
        Whether the events come from a product log.
    referred_root : `lsst.resources.ResourcePath` or `None`
        Root of the artifacts, if datastore records are to have absolute URIs.
    """

    def __init__(
        self,
        butler: Butler,
        policy: WritePolicy,
        datastores: Datastores,
        dataset_types: DatasetTypes,
        limits: EventLimits,
        *,
        replica: ReplicaPolicy | None = None,
    ) -> None:
        self.limits = limits
        self.butler = butler
        self.policy = policy
        self.datastores = datastores
        self.dataset_types = dataset_types
        self.is_replica = replica is not None
        self.referred_root = None if replica is None else replica.referred_root
        self._referred_uri = str(self.referred_root)
        self._source_root = None if replica is None else replica.staging
        self._required: dict[str, tuple[DimensionElement, tuple[str, ...], tuple[type, ...]]] = {}
        self._value_types: dict[DimensionGroup, tuple[type, ...]] = {}

    def recorded_paths(self, path: str, refs: Sequence[DatasetRef]) -> Mapping[FileStore, str]:
        """Return the datastores that accept an artifact, each with what their records contain.

        Parameters
        ----------
        path : `str`
            The path as the event gives it.
        refs : `~collections.abc.Sequence` [`lsst.daf.butler.DatasetRef`]
            The datasets of the artifact.

        Raises
        ------
        InvalidEventError
            If the path is outside its root, or no datastore accepts a dataset.
        """
        if self._source_root is not None:  # a target that refers to its files logs absolute URIs
            path = path_in_datastore(path, self._source_root)
        if self.referred_root is None:
            return self.datastores.recorded_paths(path, refs)
        stores = (store for ref in refs for store in self.datastores.accepting(ref))
        return dict.fromkeys(stores, uri_inside(path, self.referred_root, self._referred_uri))

    def required(self, element: str) -> tuple[DimensionElement, tuple[str, ...], tuple[type, ...]]:
        """Return a dimension element, the fields that identify its records, and their types."""
        known = self._required.get(element)
        if known is None:
            try:
                definition = self.butler.dimensions[element]
            except LookupError as exc:
                raise InvalidEventError(f"there is no dimension element {element!r}") from exc
            # A record's own dimension goes by the name of its primary key (a ``visit`` record has
            # an ``id``); all other dimensions go by their names, as in a data ID.
            fields = tuple(
                dimension.primaryKey.name if dimension.name == element else dimension.name
                for dimension in definition.required
            )
            known = self._required[element] = (
                definition,
                fields,
                tuple(dimension.primaryKey.getPythonType() for dimension in definition.required),
            )
        return known

    def value_types(self, dimensions: DimensionGroup) -> tuple[type, ...]:
        """Return the types that the required values of a data ID must have."""
        known = self._value_types.get(dimensions)
        if known is None:
            universe = self.butler.dimensions
            known = self._value_types[dimensions] = tuple(
                universe.dimensions[name].primaryKey.getPythonType() for name in dimensions.required
            )
        return known

    def checked_dimensions(self, dimensions: DimensionGroup) -> tuple[Dimension, ...]:
        """Return the dimensions without a table of their own: no foreign key checks a value."""
        required = (self.butler.dimensions.dimensions[name] for name in dimensions.required)
        return tuple(dimension for dimension in required if not dimension.has_own_table)

    def check_values(
        self,
        data_id: DataCoordinate,
        dimensions: Iterable[Dimension],
        records: Mapping[RecordKey, ParsedRecord],
    ) -> None:
        """Check the values of dimensions without a table of their own.

        Parameters
        ----------
        data_id : `lsst.daf.butler.DataCoordinate`
            The data ID.
        dimensions : `~collections.abc.Iterable` [`lsst.daf.butler.Dimension`]
            Those that `checked_dimensions` returns.
        records : `~collections.abc.Mapping` [`RecordKey`, `ParsedRecord`]
            The dimension records that its event brings.

        Raises
        ------
        InvalidEventError
            If there is no such pixel: queries of the dataset type would fail for everybody.
        LookupError
            If no record has the value, such as a band that no physical filter has.
        """
        for dimension in dimensions:
            name = dimension.name
            value = data_id[name]
            if isinstance(dimension, SkyPixDimension):
                try:
                    dimension.pixelization.pixel(int(value))
                except (TypeError, ValueError) as exc:
                    raise InvalidEventError(f"there is no pixel {value} of {name}") from exc
            elif not self._is_in_records(dimension, value, records):
                try:
                    self.butler.registry.expandDataId({name: value})
                except DataIdValueError as exc:
                    raise LookupError(f"there is no {name} {value!r}") from exc

    def _is_in_records(
        self, dimension: Dimension, value: object, records: Mapping[RecordKey, ParsedRecord]
    ) -> bool:
        """Tell whether records that an event brings define a value."""
        target = dimension.implied_union_target
        return target is not None and any(
            element == target.name and getattr(parsed.record, dimension.name) == value
            for (element, _), parsed in records.items()
        )
