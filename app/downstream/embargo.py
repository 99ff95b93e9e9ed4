"""When an observation ended, which is when its embargo begins; or why that is not known.

That is the end of the visit's timespan, else of the exposure's, else of the last exposure of the
group.  Where the message has two versions of a record, the later end counts.  The hours of an
embargo are counted on the clock of UTC.

Pure: no I/O, no clock.  All times are nanoseconds of Unix time.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from typing import TypeAlias

from lsst.daf.butler import DimensionUniverse, Timespan

from app.downstream.dimension_records import DataId, DimensionRecords, RecordKey
from app.downstream.leap_seconds import unix_time

__all__ = ["End", "HoldReason", "Observations", "elements_with_time", "latest"]

#: The dimensions of an observation, in the order in which they are asked for its end.
_OBSERVATIONS = ("visit", "exposure", "group")


class HoldReason(StrEnum):
    """Why a dataset is held until a rule says otherwise."""

    NO_OBSERVATION = "no_observation"
    """Its data ID has no visit, exposure or group."""

    NO_RECORD = "no_record"
    """The product log does not have the record of its visit or exposure."""

    NO_EXPOSURE = "no_exposure"
    """The product log has no exposure of its group."""

    NO_TIMESPAN = "no_timespan"
    """The record has no timespan (NULL)."""

    EMPTY_TIMESPAN = "empty_timespan"
    """The timespan is empty."""

    UNBOUNDED_TIMESPAN = "unbounded_timespan"
    """The timespan has no end."""

    INVALID_TIMESPAN = "invalid_timespan"
    """The timespan is not a pair of integers."""

    DIVIDED_ARTIFACT = "divided_artifact"
    """Its artifact has datasets in other messages, whose embargo may be longer."""

    UNKNOWN_DIMENSION = "unknown_dimension"
    """Its data ID has a dimension that the downstream repository does not have."""


End: TypeAlias = int | HoldReason
"""When an observation ended, or why that is not known."""


class Observations:
    """The ends of the observations that a message of the product log describes.

    Parameters
    ----------
    records : `DimensionRecords`
        The message's dimension records.
    universe : `lsst.daf.butler.DimensionUniverse`
        The dimensions of the downstream repository.
    """

    def __init__(self, records: DimensionRecords, universe: DimensionUniverse) -> None:
        self._records = records
        self._universe = universe
        self._ends: dict[RecordKey, End] = {}

    def end(self, data_id: DataId) -> End:
        """Return when the observation of a data ID ended."""
        key = _observation(data_id)
        return HoldReason.NO_OBSERVATION if key is None else self.end_of_record(key)

    def end_of_record(self, key: RecordKey) -> End:
        """Return when the observation that a dimension record describes ended."""
        if key not in self._ends:
            self._ends[key] = self._find_end(key)
        return self._ends[key]

    def sees_sky(self, data_id: DataId) -> bool:
        """Return whether an exposure of a data ID could see the sky, or may have."""
        key = _observation(data_id)
        if key is None:
            return True
        exposures = [key] if key[0] == "exposure" else self._records.exposures(key)
        versions = [self._records.get(exposure) for exposure in exposures]
        return not versions or not all(
            records and all(record.get("can_see_sky") is False for record in records)
            for records in versions
        )

    def _find_end(self, key: RecordKey) -> End:
        name, values = key
        element = self._universe[name]
        if name == "group":
            exposures = self._records.exposures(key)
            return latest(map(self.end_of_record, exposures), HoldReason.NO_EXPOSURE)
        if element.temporal is None:
            return self.end(dict(zip(element.required.names, values, strict=True)))
        timespans = [record.get("timespan") for record in self._records.get(key)]
        return latest(map(_end_of_timespan, timespans), HoldReason.NO_RECORD)


def elements_with_time(universe: DimensionUniverse) -> frozenset[str]:
    """Return the dimension elements whose records describe an observation, or a night."""
    return frozenset(
        element.name
        for element in universe.elements
        if element.has_own_table
        and (
            element.temporal is not None
            or not set(_OBSERVATIONS).isdisjoint(element.required.names)
        )
    )


def latest(ends: Iterable[End], if_none: End) -> End:
    """Return the latest end; if one is not known, the latest one is not known either.

    Parameters
    ----------
    ends : `~collections.abc.Iterable` [`End`]
        The ends.
    if_none : `End`
        What is returned if there are none.
    """
    found: int | None = None
    for end in ends:
        if isinstance(end, HoldReason):
            return end
        found = end if found is None else max(found, end)
    return if_none if found is None else found


def _observation(data_id: DataId) -> RecordKey | None:
    """Return the key of the record that tells when a data ID was observed."""
    for name in _OBSERVATIONS:
        if name in data_id:
            return name, (data_id.get("instrument"), data_id[name])
    return None


def _end_of_timespan(timespan: object) -> End:
    """Return the end of a timespan as the dimension records have it, [begin, end] in TAI."""
    if timespan is None:
        return HoldReason.NO_TIMESPAN
    match timespan:
        case [int(begin), int(end)] if type(begin) is type(end) is int:
            if begin >= end:
                return HoldReason.EMPTY_TIMESPAN
            return HoldReason.UNBOUNDED_TIMESPAN if end >= _no_end() else unix_time(end)
    return HoldReason.INVALID_TIMESPAN


@cache
def _no_end() -> int:
    """Return what stands for the end of a timespan that has none."""
    return Timespan(None, None).nsec[1]
