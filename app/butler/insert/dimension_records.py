"""Dimension records: inserted where missing, compared where there already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog
from lsst.daf.butler import Butler, DataCoordinate, DimensionElement, DimensionRecord

from app.butler.events.parsed import ParsedEvent, RawRecord, RecordKey
from app.butler.insert.batch import RefusedEventsError
from app.butler.insert.references import missing_record
from app.butler.outcome import Rejection

__all__ = ["DimensionRecords"]

logger = structlog.get_logger("butler_writer")

#: How many records are remembered as stored: some 10 MB; a night of visits is about 20,000 without
#: those of single detectors.
_REMEMBERED = 50_000

_HavingRecords: TypeAlias = Callable[
    [DimensionElement, Sequence[DataCoordinate]], Sequence[DataCoordinate]
]


@dataclass
class DimensionRecords:
    """Writes dimension records, and remembers which are stored.

    A record that is stored is never changed: the stored one wins over one that differs, and that
    is logged and counted.

    Attributes
    ----------
    butler : `lsst.daf.butler.Butler`
        Where they are written.
    having_records : `~collections.abc.Callable`, optional
        Returns which of some data IDs of an element have records: the query system is asked for
        these alone then, which takes some 8 ms each time, and mostly all are new.
    """

    butler: Butler
    having_records: _HavingRecords | None = None
    _stored: dict[RecordKey, int | None] = field(default_factory=dict)
    _pending: dict[RecordKey, int | None] = field(default_factory=dict)

    def insert(self, events: Iterable[ParsedEvent]) -> int:
        """Insert the records that are missing, inside the caller's transaction.

        Elements go in the order of their dependencies, and the records of one in the order of
        their keys, so that two writers cannot lock each other out.

        Returns
        -------
        mismatched : `int`
            How many records differ from the stored one, or from another event's.
        """
        self._pending = {}
        given: dict[RecordKey, RawRecord] = {}
        mismatched = 0
        for event in events:
            for key, raw in event.records.items():
                if given.setdefault(key, raw) is not raw and given[key].record != raw.record:
                    mismatched += 1
                    _report_mismatch(key, given[key].record, raw.record)
        unknown = {key: raw for key, raw in given.items() if self._stored.get(key) != raw.digest}
        for element in self.butler.dimensions.sorted({name for name, _ in unknown}):
            keys = sorted(key for key in unknown if key[0] == element.name)
            mismatched += self._insert_element(element, {key: unknown[key] for key in keys})
        return mismatched

    def _insert_element(self, element: DimensionElement, given: dict[RecordKey, RawRecord]) -> int:
        stored = self._fetch(element, [raw.record.dataId for raw in given.values()])
        new = [raw.record for raw in given.values() if raw.record.dataId not in stored]
        if new:
            # Another writer may be inserting the same records at this moment.
            self.butler.registry.insertDimensionData(element, *new, skip_existing=True)
        mismatched = 0
        for key, raw in given.items():
            there = stored.get(raw.record.dataId, raw.record)
            if there == raw.record:
                self._pending[key] = raw.digest
            else:
                mismatched += 1
                _report_mismatch(key, there, raw.record)
        return mismatched

    def _fetch(
        self, element: DimensionElement, data_ids: Sequence[DataCoordinate]
    ) -> dict[DataCoordinate, DimensionRecord]:
        if len(element.RecordClass.fields.names) == len(element.required):
            # A key alone, as a group is, cannot differ; and the query system gives it back as
            # though it were stored, whether it is or not.
            return {}
        if self.having_records is not None:
            data_ids = self.having_records(element, data_ids)
        if not data_ids:
            return {}
        with self.butler.query() as query:
            records = query.join_data_coordinates(data_ids).dimension_records(element.name)
            return {record.dataId: record for record in records}

    def refuse_dangling(self, events: Sequence[ParsedEvent]) -> None:
        """Refuse the events with a data ID that needs a record which nobody has, after `insert`.

        The database would refuse them, too, but only after it has taken most rows of all others.

        Raises
        ------
        RefusedEventsError
            If there is one.
        """
        if self.having_records is None:
            return
        rejections: dict[int, Rejection] = {}
        for dimension, positions in self._doubtful(events).items():
            found = set(self.having_records(dimension, [*positions]))
            self._pending.update({(dimension.name, d.required_values): None for d in found})
            for data_id in positions.keys() - found:
                rejection = missing_record(dimension.name, data_id.required)
                for position in positions[data_id]:
                    rejections.setdefault(position, rejection)
        if rejections:
            raise RefusedEventsError(rejections)

    def _doubtful(
        self, events: Sequence[ParsedEvent]
    ) -> dict[DimensionElement, dict[DataCoordinate, set[int]]]:
        """Return what data IDs need that is not known to be stored, and in which events."""
        doubtful: dict[DimensionElement, dict[DataCoordinate, set[int]]] = {}
        for position, event in enumerate(events):
            data_ids = {id(ref.dataId): ref.dataId for ref in event.refs}  # an event has few
            for data_id in data_ids.values():
                for name in data_id.dimensions.required:
                    dimension = self.butler.dimensions.dimensions[name]
                    key = (name, tuple(data_id[n] for n in dimension.required.names))
                    if dimension.has_own_table and not self._is_known(key):
                        needed = data_id.subset(dimension.minimal_group)
                        doubtful.setdefault(dimension, {}).setdefault(needed, set()).add(position)
        return doubtful

    def _is_known(self, key: RecordKey) -> bool:
        return key in self._pending or key in self._stored

    def remember(self) -> None:
        """Remember what was found and made since the last `insert`: that is committed."""
        if len(self._stored) + len(self._pending) > _REMEMBERED:
            self._stored.clear()
        self._stored.update(self._pending)

    def forget(self) -> None:
        """Forget what is stored: someone may have removed it."""
        self._stored.clear()


def _report_mismatch(key: RecordKey, kept: DimensionRecord, given: DimensionRecord) -> None:
    there, here = kept.toDict(), given.toDict()
    logger.warning(
        "dimension record differs, the stored one is kept",
        element=key[0],
        data_id=list(key[1]),
        fields=sorted(name for name in there if there[name] != here.get(name)),
    )
