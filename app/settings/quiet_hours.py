"""Hours of the day in which nothing is released that has waited."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["QuietHours"]

_MINUTE = 60 * 1_000_000_000
_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of the day, UTC; they may span midnight.

    Attributes
    ----------
    start, end : `int`
        When they begin, and when they are over, in minutes since midnight.
    """

    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> QuietHours:
        """Return the hours of a text, ``HH:MM-HH:MM``.

        Raises
        ------
        ValueError
            If it has another form, or the hours are none or all of the day.
        """
        found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", text)
        if found is None:
            raise ValueError("give two times of the day, UTC, such as 22:30-10:00")
        start, end = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))
        if start == end:
            raise ValueError("both times are the same: they would be no hours, or all of them")
        return cls(start, end)

    def __str__(self) -> str:
        """Return the hours as `parse` reads them."""
        return "-".join(f"{each // 60:02}:{each % 60:02}" for each in (self.start, self.end))

    def include(self, time: int) -> bool:
        """Return whether a time is in these hours.

        Parameters
        ----------
        time : `int`
            In nanoseconds of Unix time.
        """
        minute = time // _MINUTE % _DAY
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    def began(self, time: int) -> int:
        """Return when the hours began that a time is in, in nanoseconds of Unix time."""
        minutes = time // _MINUTE
        return (minutes - (minutes - self.start) % _DAY) * _MINUTE
