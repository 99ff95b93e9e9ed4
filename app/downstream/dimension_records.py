"""The dimension records of a message of the product log, and which of them a data ID needs.

A data ID needs the records of its dimensions, all records that these refer to, and those that say
which exposures and visit systems a visit has: what Butler itself transfers with a dataset, except
for the regions of detectors that the data ID does not have.

Pure: no I/O.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from lsst.daf.butler import DimensionElement, DimensionUniverse

from app.butler.events.values import converted
from models.fields import DimensionRecordFields

__all__ = ["DataId", "DimensionRecords", "Elements", "RecordKey"]

DataId: TypeAlias = Mapping[str, Any]
"""The values of some dimensions, in the types that these have."""

RecordKey: TypeAlias = tuple[str, tuple[Any, ...]]
"""Identity of a dimension record: its element, and the values of its required dimensions."""


@dataclass(frozen=True, slots=True)
class _Element:
    """How the records of one dimension element are identified, and what they refer to.

    Attributes
    ----------
    fields : `tuple` [`str`]
        The fields that identify a record.
    dimensions : `tuple` [`str`]
        The dimensions that these fields are values of.
    references : `tuple` [`tuple` [`str`, `tuple` [`str`]]]
        The elements of the records that a record refers to, each with the fields that identify it.
    populated_by : `tuple` [`str`, `tuple` [`str`]] or `None`
        If its records tell what another record is made of: the element of that record, and the
        fields that identify it.
    defines : `tuple` [`str`]
        Dimensions without records of their own whose values these records define, such as band.
    """

    fields: tuple[str, ...]
    dimensions: tuple[str, ...]
    references: tuple[tuple[str, tuple[str, ...]], ...]
    populated_by: tuple[str, tuple[str, ...]] | None
    defines: tuple[str, ...]


class Elements:
    """The dimension elements of a repository that have records.

    Parameters
    ----------
    universe : `lsst.daf.butler.DimensionUniverse`
        The dimensions of the repository.
    """

    def __init__(self, universe: DimensionUniverse) -> None:
        self._universe = universe
        self._elements = {
            element.name: _describe(element, universe)
            for element in universe.elements
            if element.has_own_table
        }
        self._types = {
            dimension.name: dimension.primaryKey.getPythonType()
            for dimension in universe.dimensions
        }
        self._identified_by = cache(self._identified)

    def get(self, name: str) -> _Element | None:
        """Return an element, unless this repository has no records of it."""
        return self._elements.get(name)

    def data_id(self, given: DataId) -> dict[str, Any] | None:
        """Return a data ID with the types of its dimensions.

        It is `None` if one of the dimensions does not exist in this repository.
        """
        if not given.keys() <= self._types.keys():
            return None
        return {name: converted(value, self._types[name]) for name, value in given.items()}

    def keys(self, data_id: DataId) -> list[RecordKey]:
        """Return the keys of the records that describe the dimensions of a data ID.

        A band has no record, but a key: records of filters define it.
        """
        return [
            (name, tuple([data_id[dimension] for dimension in dimensions]))
            for name, dimensions in self._identified_by(frozenset(data_id))
        ]

    def _identified(self, dimensions: frozenset[str]) -> list[tuple[str, tuple[str, ...]]]:
        """Return the elements whose records the values of some dimensions identify."""
        group = self._universe.conform(dimensions)
        found = [
            (name, element.dimensions)
            for name in group.elements
            if (element := self._elements.get(name)) and dimensions.issuperset(element.dimensions)
        ]
        defined = {name for element in self._elements.values() for name in element.defines}
        return found + [(name, (name,)) for name in group.required if name in defined]


class DimensionRecords:
    """The dimension records of one message.

    A record may be there twice, as stored in the repository and as in an event.

    Parameters
    ----------
    given : `~collections.abc.Iterable` [`models.fields.DimensionRecordFields`]
        The records as the message has them; those of other elements are left out.
    elements : `Elements`
        The elements of the downstream repository.
    """

    def __init__(self, given: Iterable[DimensionRecordFields], elements: Elements) -> None:
        self._elements = elements
        self._given: list[tuple[RecordKey, DimensionRecordFields]] = []
        self._records: dict[RecordKey, list[dict[str, Any]]] = {}
        self._populating: dict[RecordKey, list[RecordKey]] = defaultdict(list)
        self._exposures: dict[RecordKey, list[RecordKey]] = defaultdict(list)
        self._needed: dict[RecordKey, set[RecordKey]] = {}
        for fields in given:
            self._add(fields)

    def _add(self, fields: DimensionRecordFields) -> None:
        name, record = fields["definition"], fields["record"]
        element = self._elements.get(name)
        if element is None:
            return
        key = (name, _values(record, element.fields))
        self._given.append((key, fields))
        self._records.setdefault(key, []).append(record)
        if element.populated_by is not None:
            populating, identity = element.populated_by
            self._populating[populating, _values(record, identity)].append(key)
        for dimension in element.defines:
            self._populating[dimension, (record.get(dimension),)].append(key)
        if name == "exposure":
            self._exposures["group", (record["instrument"], record.get("group"))].append(key)
        elif name == "visit_definition":
            exposure = ("exposure", (record["instrument"], record["exposure"]))
            self._exposures["visit", (record["instrument"], record["visit"])].append(exposure)

    def get(self, key: RecordKey) -> list[dict[str, Any]]:
        """Return a record, in all versions that the message has; none, if it has none."""
        return self._records.get(key, [])

    def exposures(self, key: RecordKey) -> list[RecordKey]:
        """Return the exposures of a visit or of a group, as far as the message tells."""
        return self._exposures.get(key, [])

    def needed_by(self, data_id: DataId) -> set[RecordKey]:
        """Return the keys of the records that a data ID needs; the message may lack some."""
        return set().union(*map(self._needed_by_record, self._elements.keys(data_id)))

    def _needed_by_record(self, first: RecordKey) -> set[RecordKey]:
        """Return the keys of a record and of all that it needs; most data IDs share them."""
        if first in self._needed:
            return self._needed[first]
        needed: set[RecordKey] = set()
        left = [first]
        while left:
            key = left.pop()
            if key in needed:
                continue
            if key in self._needed:
                needed |= self._needed[key]
                continue
            needed.add(key)
            left += self._populating.get(key, ())
            left += self._references(key)
        self._needed[first] = needed
        return needed

    def _references(self, key: RecordKey) -> list[RecordKey]:
        """Return the keys of the records that a record refers to, in any of its versions."""
        element = self._elements.get(key[0])
        return [
            (name, _values(record, fields))
            for record in self._records.get(key, ())
            for name, fields in (element.references if element else ())
        ]

    def select(self, keys: set[RecordKey]) -> list[DimensionRecordFields]:
        """Return some of the records as the message has them, in its order."""
        return [fields for key, fields in self._given if key in keys]


def _values(record: Mapping[str, Any], fields: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple([record.get(field) for field in fields])


def _describe(element: DimensionElement, universe: DimensionUniverse) -> _Element:
    def fields(other: DimensionElement) -> tuple[str, ...]:
        """Return the fields of this element's records that identify a record of another one."""
        return tuple(
            # A record's own dimension goes by the name of its primary key.
            dimension.primaryKey.name if dimension.name == element.name else dimension.name
            for dimension in other.required
        )

    populated_by = element.populated_by
    return _Element(
        fields=fields(element),
        dimensions=tuple(element.required.names),
        references=tuple(
            (other.name, fields(other))
            for other in (*element.required, *element.implied)
            if other.name != element.name and other.has_own_table
        ),
        populated_by=(populated_by.name, fields(populated_by))
        if populated_by is not None and element.defines_relationships
        else None,
        defines=tuple(
            dimension.name
            for dimension in universe.dimensions
            if dimension.implied_union_target == element
        ),
    )
