"""The overlaps of regions with the sky's pixels, which Butler stores as rows.

Butler makes a row for each pixel of the common pixelization (htm7, of 131,072 pixels) that a
dimension record's region overlaps.  The rows are counted before they are made, from the ranges of
pixels.  A detector of LSSTCam overlaps about 3 pixels, its focal plane of 3.5 degrees about 31, and
a circle with a radius of 30 degrees 8,152 (our measurement).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lsst.daf.butler import DimensionRecord, DimensionUniverse

from app.butler.events.limits import EventLimits
from app.butler.events.parsed import ParsedEvent, ParsedRecord, RecordKey
from models.errors import OverLimitError

__all__ = ["OverlapRows"]

#: About how many overlap rows are made at a time; those of one record are not divided.
_ROWS_AT_ONCE = 10_000

#: About how many overlap rows are written in one transaction; that takes some 5 s.
_ROWS_OF_A_TURN = 100_000

#: For how many records the number of rows is remembered: those of some windows.
_REMEMBERED = 5_000


class OverlapRows:
    """Counts the overlap rows of dimension records; several threads may use one object.

    Parameters
    ----------
    universe : `lsst.daf.butler.DimensionUniverse`
        The dimension universe of the repository.
    limits : `EventLimits`
        How many rows the records of an event may need.
    """

    def __init__(self, universe: DimensionUniverse, limits: EventLimits) -> None:
        self._pixels = universe.commonSkyPix
        self._limits = limits
        self._counts: dict[tuple[RecordKey, int], int] = {}

    def count(self, key: RecordKey, parsed: ParsedRecord) -> int:
        """Return how many overlap rows a dimension record needs."""
        record = parsed.record
        if record.definition.spatial is None or record.region is None:
            return 0
        known = self._counts.get((key, parsed.digest))
        if known is None:
            ranges = self._pixels.pixelization.envelope(record.region)
            known = sum(end - begin for begin, end in ranges)
            if len(self._counts) >= _REMEMBERED:
                self._counts.clear()
            self._counts[key, parsed.digest] = known
        return known

    def total(self, event: ParsedEvent) -> int:
        """Return how many overlap rows the records of an event need."""
        return sum(self.count(key, parsed) for key, parsed in event.records.items())

    def check(self, event: ParsedEvent) -> None:
        """Check that the regions of an event are not out of proportion.

        Raises
        ------
        OverLimitError
            If they overlap too many pixels; the reason names the record with the most.
        """
        total, most = 0, 0
        largest: ParsedRecord | None = None
        for key, parsed in event.records.items():
            number = self.count(key, parsed)
            total += number
            if number > most:
                most, largest = number, parsed
            if largest is not None and total > self._limits.max_overlap_rows:
                record = largest.record
                raise OverLimitError(
                    f"the regions of the event overlap {total} pixels of {self._pixels.name}, "
                    f"{self._limits.excess('max_overlap_rows')}: {most} of them that of the "
                    f"{record.definition.name} record {dict(record.dataId.required)}"
                )

    def turns(self, events: Iterable[ParsedEvent]) -> list[list[ParsedEvent]]:
        """Divide events so that those of each part can be written in one transaction in seconds.

        The events with the fewest rows come first; a part has its events in the given order.
        """
        turns: list[set[ParsedEvent]] = [set()]
        given = list(events)
        known: set[tuple[RecordKey, int]] = set()
        rows = 0
        for event in sorted(given, key=self.total):
            new = {(k, p.digest): self.count(k, p) for k, p in event.records.items()}
            number = sum(count for key, count in new.items() if key not in known)
            if turns[-1] and rows + number > _ROWS_OF_A_TURN:
                turns.append(set())
                known.clear()
                rows, number = 0, sum(new.values())
            turns[-1].add(event)
            known |= new.keys()
            rows += number
        return [[event for event in given if event in turn] for turn in turns]

    def chunks(
        self, records: Iterable[tuple[RecordKey, ParsedRecord]]
    ) -> Iterator[list[DimensionRecord]]:
        """Divide records, in their order, so that each part needs a bounded number of rows."""
        chunk: list[DimensionRecord] = []
        rows = 0
        for key, parsed in records:
            number = self.count(key, parsed)
            if chunk and rows + number > _ROWS_AT_ONCE:
                yield chunk
                chunk, rows = [], 0
            chunk.append(parsed.record)
            rows += number
        if chunk:
            yield chunk
