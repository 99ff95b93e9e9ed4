"""TAI as UTC, with the leap seconds of the IERS.

A Butler's timespans are nanoseconds of TAI, a computer's clock counts those of UTC without leap
seconds (Unix time).  The table is the file that astropy brings; nothing is downloaded.  A leap
second that an old table lacks makes a time one second later than it is, so nothing is early; none
has ever been removed from UTC.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache

from astropy.utils.iers import LeapSeconds

__all__ = ["unix_time"]

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND

#: The Modified Julian Date of 1970-01-01.
_UNIX_EPOCH = 40_587


def unix_time(tai: int) -> int:
    """Return a time in nanoseconds of Unix time.

    A leap second itself, which Unix time does not have, counts as the end of that second: what is
    due then is never early.

    Parameters
    ----------
    tai : `int`
        Nanoseconds since 1970-01-01T00:00:00 TAI, as in a `lsst.daf.butler.Timespan`.
    """
    starts, midnights, offsets = _table()
    after = bisect_right(starts, tai)
    if after == 0:
        return tai  # before 1972, when TAI was ahead by less than 10 s: later, so never early
    found = tai - offsets[after - 1]
    return found if after == len(starts) else min(found, midnights[after])


@lru_cache(maxsize=1)
def _table() -> tuple[list[int], list[int], list[int]]:
    """Return when each value of TAI - UTC begins, in TAI and in Unix time, and the value."""
    table = LeapSeconds.from_iers_leap_seconds()
    offsets = [int(seconds) * _SECOND for seconds in table["tai_utc"]]
    midnights = [(int(day) - _UNIX_EPOCH) * _DAY for day in table["mjd"]]
    starts = [midnight + offset for midnight, offset in zip(midnights, offsets, strict=True)]
    return starts, midnights, offsets
