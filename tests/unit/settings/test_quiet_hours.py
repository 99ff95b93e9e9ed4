"""Quiet hours are hours of the day, UTC, and may span midnight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.settings.quiet_hours import QuietHours


def at(day: int, hour: int, minute: int = 0, second: float = 0.0) -> int:
    moment = datetime(2026, 11, day, hour, minute, tzinfo=UTC) + timedelta(seconds=second)
    return round(moment.timestamp() * 1000) * 1_000_000


def test_hours_of_one_day_begin_at_their_first_minute_and_end_before_the_last() -> None:
    hours = QuietHours.parse("01:30-10:00")
    assert str(hours) == "01:30-10:00"
    assert not hours.include(at(24, 1, 29, 59.999))
    assert hours.include(at(24, 1, 30))
    assert hours.include(at(24, 9, 59, 59.999))
    assert not hours.include(at(24, 10))
    assert hours.began(at(24, 9, 59)) == at(24, 1, 30)


def test_hours_may_span_midnight() -> None:
    hours = QuietHours.parse("22:30-10:00")
    assert not hours.include(at(23, 22, 29))
    assert hours.include(at(23, 22, 30))
    assert hours.include(at(24, 0))
    assert hours.include(at(24, 9, 59))
    assert not hours.include(at(24, 10))
    assert hours.began(at(23, 23)) == hours.began(at(24, 9, 59)) == at(23, 22, 30)


@pytest.mark.parametrize("text", ["22-10", "24:00-10:00", "1:00-2:00", "22:30 - 10:00", "x"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give two times of the day, UTC, such as 22:30-10:00"):
        QuietHours.parse(text)


def test_hours_without_length_are_refused() -> None:
    with pytest.raises(ValueError, match="both times are the same"):
        QuietHours.parse("10:00-10:00")
