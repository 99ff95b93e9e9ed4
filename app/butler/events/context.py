"""What the parser needs to know about a repository."""

from __future__ import annotations

from lsst.daf.butler import Butler, DimensionElement, DimensionGroup

from app.butler.policy import WritePolicy
from app.butler.private.datastores import Datastores
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
    """

    def __init__(
        self,
        butler: Butler,
        policy: WritePolicy,
        datastores: Datastores,
        dataset_types: DatasetTypes,
    ) -> None:
        self.butler = butler
        self.policy = policy
        self.datastores = datastores
        self.dataset_types = dataset_types
        self._required: dict[str, tuple[DimensionElement, tuple[str, ...], tuple[type, ...]]] = {}
        self._value_types: dict[DimensionGroup, tuple[type, ...]] = {}

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
