"""Look up dimension records as the repository has them, with those that they lead to."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import sqlalchemy
from lsst.daf.butler import DimensionElement, DimensionRecord, DimensionUniverse

from app.butler.private.dimension_rows import DimensionRows, Fetch
from app.butler.products.related_keys import RecordId, RelatedKeys, key_of
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
    leads_to : `tuple` [`RecordId`, ...]
        The records that it refers to; for a visit, also what defines it.
    """

    content: bytes
    leads_to: tuple[RecordId, ...]


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
        self._known: dict[RecordId, tuple[float, StoredRecord]] = {}

    def find(
        self,
        connection: sqlalchemy.Connection,
        keys: Iterable[RecordId],
        others: Sequence[Fetch] = (),
    ) -> tuple[dict[RecordId, StoredRecord], list[list[Any]]]:
        """Look up the records with some keys, and all to which they lead.

        Parameters
        ----------
        connection : `sqlalchemy.Connection`
            Connection to the database.
        keys : `~collections.abc.Iterable` [`RecordId`]
            The keys.
        others : `~collections.abc.Sequence` [`Fetch`], optional
            What else to fetch with the first message.

        Returns
        -------
        records : `dict` [`RecordId`, `StoredRecord`]
            Those of the records that are stored.
        fetched : `list` [`list`]
            The others.
        """
        self._forget_outdated()
        found: dict[RecordId, StoredRecord] = {}
        asked: set[RecordId] = set()
        fetched: list[list[Any]] = [[] for _ in others]
        while (missing := {*keys} - asked) or others:
            asked |= missing
            known = {key: self._known[key][1] for key in missing if key in self._known}
            new, more = self._fetch(connection, missing - known.keys(), others)
            self._remember(new)
            found |= known | new
            keys = [key for record in (known | new).values() for key in record.leads_to]
            if others:
                fetched, others = more, ()
        return found, fetched

    def _forget_outdated(self) -> None:
        now = self._clock()
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        outdated = [key for key, (until, _) in self._known.items() if until < now]
        for key in outdated:
            del self._known[key]

    def _remember(self, fetched: Mapping[RecordId, StoredRecord]) -> None:
        until = self._clock() + _BELIEVED
        for key, record in fetched.items():
            if key[0] == "detector" or "detector" not in self._universe[key[0]].required.names:
                self._known[key] = until, record

    def _fetch(
        self,
        connection: sqlalchemy.Connection,
        keys: Iterable[RecordId],
        others: Sequence[Fetch],
    ) -> tuple[dict[RecordId, StoredRecord], list[list[Any]]]:
        """Ask the repository for records, and for others."""
        values: defaultdict[str, list[Row]] = defaultdict(list)
        for name, each in keys:
            values[name].append(each)
        elements = [self._universe[name] for name in values]
        stored = [each for each in elements if not _is_only_key(each)]
        defining, of_elements = (
            self._related.defining(values.get("visit", ())),
            [self._rows.records(element, values[element.name]) for element in stored],
        )
        fetched = self._rows.fetch(connection, [*defining, *of_elements, *others])
        makers: defaultdict[RecordId, list[RecordId]] = defaultdict(list)
        for visit, key in chain.from_iterable(fetched[: len(defining)]):
            makers["visit", visit].append(key)
        records = [
            *chain.from_iterable(fetched[len(defining) : len(defining) + len(stored)]),
            *(
                r
                for each in elements
                if _is_only_key(each)
                for r in _only_keys(each, values[each.name])
            ),
        ]
        found = {}
        for record in records:
            key = record.definition.name, tuple(record.dataId.required_values)
            content = record.to_simple().model_dump_json().encode()
            found[key] = StoredRecord(content, (*_referred(record), *makers.get(key, ())))
        return found, fetched[len(defining) + len(stored) :]


def _is_only_key(element: DimensionElement) -> bool:
    return len(element.RecordClass.fields.names) == len(element.required)


def _only_keys(element: DimensionElement, keys: Iterable[Row]) -> Iterator[DimensionRecord]:
    """Yield records that are only a key, such as a group's; another stored row refers to them."""
    for key in keys:
        yield element.RecordClass(**dict(zip(element.required.names, key, strict=True)))


def _referred(record: DimensionRecord) -> Iterator[RecordId]:
    """Yield the keys of the records that a record refers to."""
    values = dict(record.dataId.required)
    implied = {d.name: getattr(record, d.name) for d in record.definition.implied}
    values |= {name: value for name, value in implied.items() if value is not None}
    for dimension in record.definition.dimensions:
        is_other = dimension.name != record.definition.name and dimension.has_own_table
        if is_other and dimension.name in values:
            yield key_of(dimension, values)
