"""Look up dimension records as the repository has them, with those that they lead to."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy
from lsst.daf.butler import DimensionElement, DimensionRecord, DimensionUniverse

from app.butler.events.parsed import RecordKey
from app.butler.private.dimension_rows import DimensionRows
from app.butler.products.related_keys import RelatedKeys, key_of
from app.butler.statements import Row

__all__ = ["StoredRecord", "StoredRecords"]

#: For how long a record that was looked up is believed, in seconds (rule lookups-expire).
_BELIEVED = 60.0

#: How many records are remembered, about 10 MB; a visit has about ten.
_REMEMBERED = 5_000


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A dimension record of the repository.

    Attributes
    ----------
    content : `bytes`
        The record, serialized as in an event.
    leads_to : `tuple` [`RecordKey`, ...]
        The records that it refers to; for a visit, also what defines it.
    """

    content: bytes
    leads_to: tuple[RecordKey, ...]


class StoredRecords:
    """Looks up dimension records; what several windows need is looked up once a minute.

    Parameters
    ----------
    universe : `lsst.daf.butler.DimensionUniverse`
        The dimension universe.
    rows : `DimensionRows`
        The repository's dimension records.
    related : `RelatedKeys`
        Finds what defines a visit.
    clock : `~collections.abc.Callable`, optional
        Returns the time in seconds.
    """

    def __init__(
        self,
        universe: DimensionUniverse,
        rows: DimensionRows,
        related: RelatedKeys,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._universe = universe
        self._rows = rows
        self._related = related
        self._clock = clock
        self._known: dict[RecordKey, tuple[float, StoredRecord]] = {}

    def find(
        self, connection: sqlalchemy.Connection, keys: Iterable[RecordKey]
    ) -> dict[RecordKey, StoredRecord]:
        """Return the records with some keys, and all to which they lead; if they are stored."""
        self._forget_outdated()
        found: dict[RecordKey, StoredRecord] = {}
        asked: set[RecordKey] = set()
        while missing := {*keys} - asked:
            asked |= missing
            known = {key: self._known[key][1] for key in missing if key in self._known}
            fetched = self._fetch(connection, missing - known.keys())
            self._remember(fetched)
            found |= known | fetched
            keys = [key for record in (known | fetched).values() for key in record.leads_to]
        return found

    def _forget_outdated(self) -> None:
        now = self._clock()
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        outdated = [key for key, (until, _) in self._known.items() if until < now]
        for key in outdated:
            del self._known[key]

    def _remember(self, fetched: Mapping[RecordKey, StoredRecord]) -> None:
        until = self._clock() + _BELIEVED
        for key, record in fetched.items():
            if key[0] == "detector" or "detector" not in self._universe[key[0]].required.names:
                self._known[key] = until, record

    def _fetch(
        self, connection: sqlalchemy.Connection, keys: Iterable[RecordKey]
    ) -> dict[RecordKey, StoredRecord]:
        """Ask the repository for records."""
        values: defaultdict[str, list[Row]] = defaultdict(list)
        for name, each in keys:
            values[name].append(each)
        records: dict[RecordKey, DimensionRecord] = {}
        for name, asked in values.items():
            element = self._universe[name]
            if len(element.RecordClass.fields.names) == len(element.required):
                found = _only_keys(element, asked)
            else:
                found = self._rows.records(connection, element, sorted(asked))
            for record in found:
                records[name, tuple(record.dataId.required_values)] = record
        visits = [key for name, key in records if name == "visit"]
        defining = self._related.defining(connection, visits)
        return {
            key: StoredRecord(
                record.to_simple().model_dump_json().encode(),
                (*_referred(record), *(defining.get(key[1], ()) if key[0] == "visit" else ())),
            )
            for key, record in records.items()
        }


def _only_keys(element: DimensionElement, keys: Iterable[Row]) -> Iterator[DimensionRecord]:
    """Yield records that are only a key, such as a group's; another stored row refers to them."""
    for key in keys:
        yield element.RecordClass(**dict(zip(element.required.names, key, strict=True)))


def _referred(record: DimensionRecord) -> Iterator[RecordKey]:
    """Yield the keys of the records that a record refers to."""
    values = dict(record.dataId.required)
    implied = {d.name: getattr(record, d.name) for d in record.definition.implied}
    values |= {name: value for name, value in implied.items() if value is not None}
    for dimension in record.definition.dimensions:
        is_other = dimension.name != record.definition.name and dimension.has_own_table
        if is_other and dimension.name in values:
            yield key_of(dimension, values)
