"""How the pages show numbers, times and sizes."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from app.operations.pages.asking import LONGEST_NAME

__all__ = ["FORMATS"]

_NONE = "\N{EN DASH}"
_MIB = 1024 * 1024

#: Seconds of a unit of time, its name, and the time from which on the next one is used.
_UNITS = ((1, "s", 120), (60, "min", 7200), (3600, "h", 48 * 3600))


def number(value: float | None) -> str:
    """Return a number with its thousands separated; three digits of a small one."""
    if value is None:
        return _NONE
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def size(value: float | None) -> str:
    """Return a number of bytes with a unit."""
    if value is None:
        return _NONE
    if value < 1024:
        return f"{value:.0f} B"
    if value < _MIB:
        return f"{value / 1024:.0f} KiB"
    mib = value / _MIB
    return f"{mib:.1f} MiB" if mib < 10 else f"{mib:,.0f} MiB"


def duration(value: float | None) -> str:
    """Return a number of seconds with a unit."""
    if value is None:
        return _NONE
    value = max(0.0, value)
    if value < 1:
        return f"{math.ceil(value * 1000)} ms"
    return f"{value:.2f} s" if value < 10 else _in_units(value)


def _in_units(value: float) -> str:
    for length, unit, end in _UNITS:
        if value < end:
            return f"{value / length:,.0f} {unit}"
    return f"{value / 86400:,.0f} days"


def utc(value: float | None) -> str:
    """Return a time as UTC."""
    return _NONE if value is None else f"{_at(value):%Y-%m-%d %H:%M:%S}"


def clock(value: float | None) -> str:
    """Return a time as UTC, without its day."""
    return _NONE if value is None else f"{_at(value):%H:%M:%S}"


def ago(value: float | None, now: float) -> str:
    """Return how long ago a time is, in whole units; nothing if there is no time."""
    if value is None:
        return ""
    passed = math.floor(max(0.0, now - value))
    return f"{_in_units(passed)} ago" if passed else "just now"


def seconds(text: str) -> float | None:
    """Return a time of ISO 8601 in seconds since the Unix epoch; `None` if it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):  # the header of a message may be anything
        return None


def short_name(url: str | None) -> str:
    """Return the name of a worker without ``http://``."""
    return (url or _NONE).removeprefix("http://")


def is_path(name: str) -> bool:
    """Return whether a name can be the end of a link.

    A browser takes some for a way up; no path has a line break, and none is looked for that is too
    long.
    """
    is_way_up = bool({".", ".."} & set(name.split("/")))
    return not is_way_up and "\n" not in name and len(name.encode(errors="replace")) <= LONGEST_NAME


def _at(value: float) -> datetime:
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):  # another worker said so
        return datetime.fromtimestamp(0, UTC)


FORMATS = {
    "number": number,
    "size": size,
    "duration": duration,
    "utc": utc,
    "clock": clock,
    "ago": ago,
    "seconds": seconds,
    "short_name": short_name,
    "is_path": is_path,
}
