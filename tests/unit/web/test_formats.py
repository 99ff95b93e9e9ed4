"""How the pages show numbers, sizes and times."""

from __future__ import annotations

import pytest

from app.web.formats import ago, clock, duration, number, seconds, short_name, size, utc

NONE = "\N{EN DASH}"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, NONE),
        (0, "0"),
        (0.0, "0"),
        (0.004, "0"),
        (4.857, "4.86"),
        (5.0, "5"),
        (42.31, "42.3"),
        (1234567, "1,234,567"),
        (1234.6, "1,235"),
    ],
)
def test_numbers_have_three_digits_or_are_whole(value: float | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, NONE),
        (0, "0 B"),
        (1023, "1023 B"),
        (2048, "2 KiB"),
        (3.5 * 2**20, "3.5 MiB"),
        (48 * 2**20, "48 MiB"),
        (5000 * 2**20, "5,000 MiB"),
    ],
)
def test_sizes_have_a_unit(value: float | None, shown: str) -> None:
    assert size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, NONE),
        (-5, "0 ms"),
        (0.0121, "13 ms"),
        (1.234, "1.23 s"),
        (75.4, "75 s"),
        (600, "10 min"),
        (10_000, "3 h"),
        (10**6, "12 days"),
    ],
)
def test_durations_have_a_unit(value: float | None, shown: str) -> None:
    assert duration(value) == shown


def test_times_are_utc() -> None:
    assert utc(1795745528.07) == "2026-11-27 02:12:08"
    assert clock(1795745528.07) == "02:12:08"
    assert utc(None) == NONE
    assert utc(1e300) == "1970-01-01 00:00:00"


@pytest.mark.parametrize(
    ("passed", "shown"),
    [
        (-3, "just now"),
        (0.9, "just now"),
        (1.9, "1 s ago"),
        (119.9, "119 s ago"),
        (600, "10 min ago"),
        (10_000, "3 h ago"),
        (10**6, "12 days ago"),
    ],
)
def test_a_time_is_so_long_ago(passed: float, shown: str) -> None:
    now = 1795745528.0
    assert ago(now - passed, now) == shown
    assert ago(None, now) == ""


def test_the_time_of_a_letter_is_shown_unless_it_is_none() -> None:
    assert seconds("2026-11-27T02:12:08+00:00") == 1795745528.0
    for text in ("", "x", "99999-01-01", "<script>"):
        assert seconds(text) is None


def test_a_worker_is_called_by_its_host_and_port() -> None:
    assert short_name("http://pod-1:6066") == "pod-1:6066"
    assert short_name(None) == NONE
