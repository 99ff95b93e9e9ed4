"""Look up dimension records as the repository has them, with those that they lead to."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lsst.daf.butler import Butler, DataCoordinate, DimensionElement, DimensionRecord

from app.butler.events.parsed import RecordKey
from app.butler.products.related_keys import RelatedKeys, key_of

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
    butler : `lsst.daf.butler.Butler`
        The repository.
    related : `RelatedKeys`
        Finds what defines a visit.
    clock : `~collections.abc.Callable`, optional
        Returns the time in seconds.
    """

    def __init__(
        self, butler: Butler, related: RelatedKeys, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._butler = butler
        self._related = related
        self._clock = clock
        self._known: dict[RecordKey, tuple[float, StoredRecord]] = {}

    def find(self, keys: Iterable[RecordKey]) -> dict[RecordKey, StoredRecord]:
        """Return the records with some keys, and all to which they lead; if they are stored."""
        self._forget_outdated()
        found: dict[RecordKey, StoredRecord] = {}
        asked: set[RecordKey] = set()
        while missing := {*keys} - asked:
            asked |= missing
            known = {key: self._known[key][1] for key in missing if key in self._known}
            fetched = self._fetch(missing - known.keys())
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
            if key[0] == "detector" or "detector" not in self._element(key[0]).required.names:
                self._known[key] = until, record

    def _element(self, name: str) -> DimensionElement:
        return self._butler.dimensions[name]

    def _fetch(self, keys: Iterable[RecordKey]) -> dict[RecordKey, StoredRecord]:
        """Ask the repository for records."""
        values: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for name, each in keys:
            values[name].append(each)
        records: dict[RecordKey, DimensionRecord] = {}
        for name, asked in values.items():
            for record in self._records(self._element(name), sorted(asked)):
                records[name, tuple(record.dataId.required_values)] = record
        defining = self._related.defining([key for key in records if key[0] == "visit"])
        return {
            key: StoredRecord(
                record.to_simple().model_dump_json().encode(),
                (*_referred(record), *defining.get(key, ())),
            )
            for key, record in records.items()
        }

    def _records(
        self, element: DimensionElement, values: list[tuple[Any, ...]]
    ) -> Iterator[DimensionRecord]:
        if len(element.RecordClass.fields.names) == len(element.required):
            # It is only a key, which a stored row refers to.
            for each in values:
                yield element.RecordClass(**dict(zip(element.required.names, each, strict=True)))
            return
        data_ids = [
            DataCoordinate.from_required_values(element.minimal_group, each) for each in values
        ]
        with self._butler.query() as query:
            yield from query.join_data_coordinates(data_ids).dimension_records(element.name)


def _referred(record: DimensionRecord) -> Iterator[RecordKey]:
    """Yield the keys of the records that a record refers to."""
    values = dict(record.dataId.required)
    implied = {d.name: getattr(record, d.name) for d in record.definition.implied}
    values |= {name: value for name, value in implied.items() if value is not None}
    for dimension in record.definition.dimensions:
        is_other = dimension.name != record.definition.name and dimension.has_own_table
        if is_other and dimension.name in values:
            yield key_of(dimension, values)
