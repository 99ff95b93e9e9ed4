"""TAI is compared as UTC, with the leap seconds of the IERS."""

from __future__ import annotations

from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from astropy.time import Time
from hypothesis import given

from app.downstream.leap_seconds import unix_time

SECOND = 1_000_000_000

#: From which day on TAI - UTC has which value: IERS, Bulletin C.
IERS = [
    ("1972-01-01", 10),
    ("1972-07-01", 11),
    ("1973-01-01", 12),
    ("1974-01-01", 13),
    ("1975-01-01", 14),
    ("1976-01-01", 15),
    ("1977-01-01", 16),
    ("1978-01-01", 17),
    ("1979-01-01", 18),
    ("1980-01-01", 19),
    ("1981-07-01", 20),
    ("1982-07-01", 21),
    ("1983-07-01", 22),
    ("1985-07-01", 23),
    ("1988-01-01", 24),
    ("1990-01-01", 25),
    ("1991-01-01", 26),
    ("1992-07-01", 27),
    ("1993-07-01", 28),
    ("1994-07-01", 29),
    ("1996-01-01", 30),
    ("1997-07-01", 31),
    ("1999-01-01", 32),
    ("2006-01-01", 33),
    ("2009-01-01", 34),
    ("2012-07-01", 35),
    ("2015-07-01", 36),
    ("2017-01-01", 37),
]


def midnight(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize(("day", "leap_seconds"), IERS)
def test_the_leap_seconds_are_those_of_the_iers(day: str, leap_seconds: int) -> None:
    start = midnight(day)
    assert unix_time(start + leap_seconds * SECOND) == start
    assert unix_time(start + leap_seconds * SECOND + 1) == start + 1


@pytest.mark.parametrize(("day", "leap_seconds"), IERS[1:])
def test_a_leap_second_counts_as_its_end(day: str, leap_seconds: int) -> None:
    """A clock shows no time between 23:59:59.999 and 00:00:00: the later one is never early."""
    start = midnight(day)
    begin_of_leap_second = start + (leap_seconds - 1) * SECOND
    assert unix_time(begin_of_leap_second - 1) == start - 1
    assert unix_time(begin_of_leap_second) == start
    assert unix_time(begin_of_leap_second + SECOND - 1) == start


def test_before_1972_the_time_is_later_than_utc() -> None:
    assert unix_time(SECOND) == SECOND


@pytest.mark.filterwarnings("ignore:ERFA function")  # of years that it calls dubious
@given(st.integers(midnight("1972-01-02"), midnight("2099-12-31")))
def test_astropy_agrees(tai: int) -> None:
    seconds, nanoseconds = divmod(tai, SECOND)
    time = Time(seconds, nanoseconds / SECOND, format="unix_tai", scale="tai").utc
    year, month, day, hour, minute, second = time.to_value("ymdhms").tolist()
    expected = datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp() + second
    assert second >= 60 or unix_time(tai) / SECOND == pytest.approx(expected, abs=1e-5)


@given(st.integers(midnight("1972-01-02"), midnight("2099-12-31")), st.integers(0, 3 * SECOND))
def test_a_later_end_is_never_earlier_as_utc(tai: int, more: int) -> None:
    assert unix_time(tai) <= unix_time(tai + more)
