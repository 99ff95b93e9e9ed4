"""What was fetched: gaps of the log (rule no-gaps-in-offsets)."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given

from app.intake.fetches import Fetches

P = ("pp-output", 0)


@given(
    held=st.sets(st.integers(0, 40)),
    cuts=st.lists(st.integers(0, 40), max_size=8),
    lost=st.sets(st.integers(0, 40)),
)
def test_a_gap_is_known_however_the_fetches_divide_it(
    held: set[int], cuts: list[int], lost: set[int]
) -> None:
    """The next offset is the next one that the log holds, also if that message was lost later."""
    fetches, end = Fetches(), 41
    fetches.start_at({P: 0}, [])
    bounds = sorted({0, *cuts, end})
    for start, stop in pairwise(bounds):
        fetches.note(P, start, sorted(o for o in held if start <= o < stop), stop)
    expected = 0
    for offset in sorted(held):
        assert fetches.next_offset(P, expected) == offset
        expected = expected if offset in lost else offset + 1
        if offset in lost:
            break
    else:
        assert fetches.next_offset(P, expected) == end


def test_a_position_that_was_moved_without_a_fetch_is_no_gap() -> None:
    fetches = Fetches()
    fetches.start_at({P: 0}, [])
    fetches.note(P, 0, [0, 1], 2)
    fetches.note(P, 5, [5], 6)
    assert fetches.next_offset(P, 2) == 2
    assert fetches.end(P) == 6


def test_reading_again_forgets_the_fetches_before() -> None:
    fetches = Fetches()
    fetches.start_at({P: 0}, [])
    fetches.note(P, 0, [4], 5)
    fetches.start_at({P: 2}, [])
    assert fetches.next_offset(P, 2) == 2
    assert fetches.end(P) == 2


def test_a_reset_stays_until_a_start_has_taken_it_into_account() -> None:
    fetches = Fetches()
    fetches.note_reset(P)
    fetches.start_at({P: 3}, [])
    assert fetches.resets == {P}
    fetches.start_at({P: 0}, [P])
    assert fetches.resets == set()
