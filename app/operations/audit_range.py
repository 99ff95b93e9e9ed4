"""The part of the input topic that an audit covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.errors import OperatorError
from app.kafka.readers import TopicReader

__all__ = ["AuditError", "AuditRange", "OffsetRanges", "Range"]


class AuditError(OperatorError):
    """No event is in the range to audit."""


@dataclass(frozen=True)
class AuditRange:
    """A part of the input topic; it never goes beyond the ends of the partitions.

    Attributes
    ----------
    since, until : `datetime.datetime`, optional
        From the first event sent at or after ``since``; up to, but not including, the first one
        sent at or after ``until``.
    first, last : `int`, optional
        From one offset to another, both included, on every partition.
    """

    since: datetime | None = None
    until: datetime | None = None
    first: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        """Refuse ends that are in the wrong order.

        Raises
        ------
        AuditError
            If they are.
        """
        if self.first is not None and self.last is not None and self.first > self.last:
            raise AuditError(f"no event is from --first {self.first} to --last {self.last}")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise AuditError(f"no event is sent from --since {self.since} until {self.until}")

    async def bounds(self, reader: TopicReader) -> dict[int, tuple[int, int]]:
        """Return the first offset in the range, and the first after it, of each partition."""
        ends = await reader.end_offsets()
        starts = await reader.first_offsets()
        stops = ends
        if self.since is not None:
            starts = ends | await reader.offsets_at(self.since)
        if self.until is not None:
            stops = ends | await reader.offsets_at(self.until)
        bounds = {}
        for partition, end in ends.items():
            stop = stops[partition] if self.last is None else min(stops[partition], self.last + 1)
            start = min(max(starts[partition], self.first or 0), end)
            bounds[partition] = (start, max(start, stop))
        return bounds

    @property
    def names_offsets(self) -> bool:
        """Whether offsets are given, so that a range without an event is a mistake."""
        return (self.first, self.last) != (None, None)


class Range(Protocol):
    """A part of the input topic."""

    @property
    def names_offsets(self) -> bool:
        """Whether a range without an event is a mistake."""

    async def bounds(self, reader: TopicReader) -> Mapping[int, tuple[int, int]]:
        """Return the first offset in the range, and the first after it, of each partition."""


@dataclass(frozen=True)
class OffsetRanges:
    """A range that is known: its first offset, and the first one after it, by partition."""

    ranges: Mapping[int, tuple[int, int]]
    names_offsets = False

    async def bounds(self, reader: TopicReader) -> Mapping[int, tuple[int, int]]:
        """Return the ranges, as far as the log goes: a committed offset may lie beyond its end."""
        ends = await reader.end_offsets()
        return {
            partition: (min(start, ends[partition]), min(stop, ends[partition]))
            for partition, (start, stop) in self.ranges.items()
        }
