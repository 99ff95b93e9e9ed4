"""Insert dimension records that are missing, and compare the others with the stored ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from lsst.daf.butler import Butler, DataCoordinate, DimensionElement, DimensionRecord

from app.butler.events.parsed import ParsedEvent, ParsedRecord, RecordKey, record_key
from app.butler.insert.batch import RefusedEventsError
from app.butler.insert.changed_records import is_same_record, log_change
from app.butler.insert.overlaps import OverlapRows
from app.butler.insert.references import missing_record
from app.butler.outcome import Rejection
from app.butler.private.registry import RegistryTables
from app.butler.sessions.messages import deferring
from models.causes import Cause

__all__ = ["DimensionRecords"]

#: How many records are remembered as stored, about 10 MB.  A night of visits has about 20,000.
_REMEMBERED = 50_000

_FindStored: TypeAlias = Callable[
    [DimensionElement, Sequence[DataCoordinate]], Sequence[DataCoordinate]
]


@dataclass
class DimensionRecords:
    """Inserts dimension records, and remembers which ones are stored.

    If an event brings a record that differs from the stored one, that is logged and counted.  The
    stored one stays, unless the event may replace it.

    Records that several windows bring, such as that of a visit, are *shared* (rule
    shared-rows-first).

    Attributes
    ----------
    butler : `lsst.daf.butler.Butler`
        The Butler that is written to.
    overlaps : `OverlapRows`
        Counts the overlap rows of records, so that few are made at a time.
    find_stored : `~collections.abc.Callable`, optional
        Returns those of some data IDs for which an element has a stored record.  With it, only
        these records are fetched by the query system, which takes about 8 ms for each query;
        usually all records are new, and no query is needed.
    forbidden : `frozenset` [`str`]
        The elements of which an event may bring stored records only.
    """

    butler: Butler
    overlaps: OverlapRows
    find_stored: _FindStored | None = None
    forbidden: frozenset[str] = frozenset()
    _stored: dict[RecordKey, int | None] = field(default_factory=dict)
    _pending: dict[RecordKey, int | None] = field(default_factory=dict)

    def insert(self, events: Iterable[ParsedEvent]) -> tuple[int, int]:
        """Insert the records that are missing, in the caller's transaction.

        Elements are inserted in the order of their dependencies, and the records of an element in
        the order of their keys, so that two writers cannot deadlock.

        Returns
        -------
        mismatched : `int`
            Number of records that differ from the stored one, or from that of another event, and
            are not stored.
        replaced : `int`
            Number of stored records that were replaced.
        """
        self._pending = {}
        given: dict[RecordKey, ParsedRecord] = {}
        replacing: set[RecordKey] = set()
        mismatched = 0
        for event in events:
            for key, parsed in event.records.items():
                if event.replaces_records:
                    replacing.add(key)
                    given[key] = parsed
                    continue
                first = given.setdefault(key, parsed)
                if first is not parsed and not is_same_record(first.record, parsed.record):
                    mismatched += 1
                    log_change(key, first.record, parsed.record)
        unknown = {
            key: parsed for key, parsed in given.items() if self._stored.get(key) != parsed.digest
        }
        differing = self._insert_missing(unknown)
        replaced = {key: unknown[key] for key in differing if key in replacing}
        self._replace(replaced)
        for key, kept in differing.items():
            log_change(key, kept, unknown[key].record, is_replaced=key in replaced)
        return mismatched + len(differing) - len(replaced), len(replaced)

    def _replace(self, given: Mapping[RecordKey, ParsedRecord]) -> None:
        """Give stored records other values, in the order in which records are inserted."""
        for element in self.butler.dimensions.sorted({name for name, _ in given}):
            for key in sorted(key for key in given if key[0] == element.name):
                record = given[key].record
                self.butler.registry.insertDimensionData(element, record, replace=True)
                self._pending[key] = given[key].digest

    def refuse_new(self, events: Iterable[ParsedEvent]) -> None:
        """Refuse the events that bring a new record of an element that operators register.

        Raises
        ------
        RefusedEventsError
            If there are such events.
        """
        bringing: dict[RecordKey, list[ParsedEvent]] = {}
        for event in events:
            for key in event.records:
                if key[0] in self.forbidden and not self._is_known(key):
                    bringing.setdefault(key, []).append(event)
        rejections: dict[ParsedEvent, Rejection] = {}
        for name in sorted({name for name, _ in bringing}):
            keys = {
                bringing[key][0].records[key].record.dataId: key
                for key in bringing
                if key[0] == name
            }
            find = self.find_stored or RegistryTables(self.butler).find_stored
            stored = set(find(self.butler.dimensions[name], [*keys]))
            for data_id, key in keys.items():
                if data_id not in stored:
                    for event in bringing[key]:
                        rejections.setdefault(event, _not_allowed(key))
        if rejections:
            raise RefusedEventsError(rejections)

    def lacks_shared(self, events: Iterable[ParsedEvent]) -> bool:
        """Tell whether events bring shared records that are not known to be stored."""
        return bool(self._unknown_shared(events))

    def insert_shared(self, events: Iterable[ParsedEvent]) -> None:
        """Insert the shared records that are missing, in the caller's transaction."""
        self._pending = {}
        differing = self._insert_missing(self._unknown_shared(events))
        # They are stored; `insert` compares them, for its report.
        self._pending.update(dict.fromkeys(differing))

    def _unknown_shared(self, events: Iterable[ParsedEvent]) -> dict[RecordKey, ParsedRecord]:
        """Return the shared records that are not known to be stored.

        Events of other windows bring them too, unlike those that a single detector has of a visit.
        """
        unknown: dict[RecordKey, ParsedRecord] = {}
        for event in events:
            for key, parsed in event.records.items():
                if key not in self._stored and self._is_shared(key[0]):
                    unknown.setdefault(key, parsed)
        return unknown

    def _is_shared(self, name: str) -> bool:
        return name == "detector" or "detector" not in self.butler.dimensions[name].required.names

    def _insert_missing(
        self, given: Mapping[RecordKey, ParsedRecord]
    ) -> dict[RecordKey, DimensionRecord]:
        """Insert records that are missing; return the stored ones that differ from the given.

        All are looked for first: other writers of the same records wait from the first insert on.
        """
        elements = self.butler.dimensions.sorted({name for name, _ in given})
        keys = {e: sorted(key for key in given if key[0] == e.name) for e in elements}
        stored = {
            e: self._fetch(e, [given[key].record.dataId for key in keys[e]]) for e in elements
        }
        differing: dict[RecordKey, DimensionRecord] = {}
        with RegistryTables(self.butler).connection() as connection, deferring(connection):
            for element in elements:
                records = {key: given[key] for key in keys[element]}
                differing |= self._insert_element(element, records, stored[element])
        return differing

    def _insert_element(
        self,
        element: DimensionElement,
        given: Mapping[RecordKey, ParsedRecord],
        stored: Mapping[RecordKey, DimensionRecord],
    ) -> dict[RecordKey, DimensionRecord]:
        new = [(key, p) for key, p in given.items() if key not in stored]
        for records in self.overlaps.chunks(new):
            # Another writer may be inserting the same records at this moment.
            self.butler.registry.insertDimensionData(element, *records, skip_existing=True)
        differing: dict[RecordKey, DimensionRecord] = {}
        for key, parsed in given.items():
            kept = stored.get(key, parsed.record)
            if is_same_record(kept, parsed.record):
                self._pending[key] = parsed.digest
            else:
                differing[key] = kept
        return differing

    def _fetch(
        self, element: DimensionElement, data_ids: Sequence[DataCoordinate]
    ) -> dict[RecordKey, DimensionRecord]:
        """Return the stored records that may differ from the given ones."""
        if len(element.RecordClass.fields.names) == len(element.required):
            # A record that is only a key, such as a group's, cannot differ.  And the query system
            # returns it whether it is stored or not.
            return {}
        if self.find_stored is not None:
            data_ids = self.find_stored(element, data_ids)
        if not data_ids:
            return {}
        with self.butler.query() as query:
            records = query.join_data_coordinates(data_ids).dimension_records(element.name)
            return {_key(element, record.dataId): record for record in records}

    def refuse_dangling(self, events: Sequence[ParsedEvent]) -> None:
        """Refuse the events whose data IDs need records that do not exist; call after `insert`.

        The database would refuse them too, but only after it has taken most rows of all other
        events.

        Raises
        ------
        RefusedEventsError
            If there are such events.
        """
        if self.find_stored is None:
            return
        rejections: dict[ParsedEvent, Rejection] = {}
        for dimension, referrers in self._unconfirmed(events).items():
            found = self.find_stored(dimension, [data_id for data_id, _ in referrers.values()])
            self._pending.update({_key(dimension, data_id): None for data_id in found})
            for key, (data_id, of_events) in referrers.items():
                if key not in self._pending:
                    rejection = missing_record(dimension.name, data_id.required)
                    rejections.update(dict.fromkeys(of_events - rejections.keys(), rejection))
        if rejections:
            raise RefusedEventsError(rejections)

    def _unconfirmed(
        self, events: Sequence[ParsedEvent]
    ) -> dict[DimensionElement, dict[RecordKey, tuple[DataCoordinate, set[ParsedEvent]]]]:
        """Return the records that data IDs need and that are not known to be stored.

        Each comes with the events that need it.
        """
        unconfirmed: dict[
            DimensionElement, dict[RecordKey, tuple[DataCoordinate, set[ParsedEvent]]]
        ] = {}
        for event in events:
            data_ids = {id(ref.dataId): ref.dataId for ref in event.refs}  # an event has few
            for data_id in data_ids.values():
                for name in data_id.dimensions.required:
                    dimension = self.butler.dimensions.dimensions[name]
                    key = record_key(name, tuple(data_id[n] for n in dimension.required.names))
                    if dimension.has_own_table and not self._is_known(key):
                        needed = data_id.subset(dimension.minimal_group)
                        of_dimension = unconfirmed.setdefault(dimension, {})
                        of_dimension.setdefault(key, (needed, set()))[1].add(event)
        return unconfirmed

    def _is_known(self, key: RecordKey) -> bool:
        return key in self._pending or key in self._stored

    def remember(self) -> None:
        """Remember what the last `insert` found and inserted; call after the commit.

        Those of single detectors are left out: no other event brings them.
        """
        if len(self._stored) + len(self._pending) > _REMEMBERED:
            self._stored.clear()
        shared = {key: kept for key, kept in self._pending.items() if self._is_shared(key[0])}
        self._stored.update(shared)

    def forget(self) -> None:
        """Forget which records are stored: someone may have deleted some."""
        self._stored.clear()


def _key(element: DimensionElement, data_id: DataCoordinate) -> RecordKey:
    return record_key(element.name, data_id.required_values)


def _not_allowed(key: RecordKey) -> Rejection:
    element, values = key
    reason = (
        f"the {element} record {values} is new; register it in the repository, or allow events to "
        f"bring such records with BUTLER_WRITER_ALLOWED_ELEMENTS={element}, then replay"
    )
    return Rejection(Cause.ELEMENT_NOT_ALLOWED, reason)
