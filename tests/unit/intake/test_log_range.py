"""Where reading starts (rule no-gaps-in-offsets)."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from app.intake.log_range import LogRange

OFFSETS = st.integers(0, 50)


@given(first=OFFSETS, length=OFFSETS, committed=st.none() | OFFSETS, was_reset=st.booleans())
def test_reading_starts_in_the_log_and_skips_nothing_that_is_not_committed(
    first: int, length: int, committed: int | None, was_reset: bool
) -> None:
    log = LogRange(first, first + length)
    start = log.start(committed, was_reset=was_reset)
    assert log.first <= start <= log.end
    is_trusted = committed is not None and first <= committed <= log.end and not was_reset
    assert start == (committed if is_trusted else first)
    assert log.lacks(committed) == (committed is not None and not first <= committed <= log.end)


def test_a_committed_offset_at_either_end_of_the_log_is_in_it() -> None:
    assert not LogRange(5, 9).lacks(5)
    assert not LogRange(5, 9).lacks(9)
    assert LogRange(5, 9).lacks(4)
    assert LogRange(5, 9).lacks(10)
