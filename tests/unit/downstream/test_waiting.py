"""The index of what waits."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given

from app.downstream.waiting import HELD, Due, Waiting, entries
from tests.unit.downstream.messages import (
    EVENING,
    HOUR,
    Message,
    dataset,
    selector,
    timespan,
    visit_records,
)

DUES = st.builds(
    Due, st.integers(0, 5 * HOUR) | st.just(HELD), st.integers(0, 2), st.integers(0, 4)
)
NUMBERS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 5), min_size=1)
CHANGES = st.lists(st.tuples(DUES, st.none() | NUMBERS), max_size=30)


def changed(changes: list[tuple[Due, dict[str, int] | None]]) -> dict[Due, dict[str, int]]:
    """Return the table after some changes."""
    table: dict[Due, dict[str, int]] = {}
    for due, numbers in changes:
        if numbers is None:
            table.pop(due, None)
        else:
            table[due] = numbers
    return table


def follow(index: Waiting, changes: list[tuple[Due, dict[str, int] | None]]) -> None:
    for due, numbers in changes:
        if numbers is None:
            index.remove(due)
        else:
            index.put(due, numbers)


@given(changes=CHANGES, now=st.integers(-1, 6 * HOUR), limit=st.integers(0, 5))
def test_the_index_says_what_the_table_has(
    changes: list[tuple[Due, dict[str, int] | None]], now: int, limit: int
) -> None:
    """Also after changes that are repeated, and removals of what is not there."""
    table, index = changed(changes), Waiting()
    follow(index, changes)
    order = sorted(due for due in table if due.time != HELD)
    assert len(index) == len(table)
    assert index.due(now, limit) == [due for due in order if due.time <= now][:limit]
    assert index.next_time == (order[0].time if order else None)
    hours: dict[int, Counter[str]] = {}
    for due in order:
        hours.setdefault(due.time // HOUR * HOUR, Counter()).update(table[due])
    assert index.by_hour() == hours
    held = [Counter(numbers) for due, numbers in table.items() if due.time == HELD]
    assert index.held == sum(held, Counter())


@given(changes=CHANGES, seed=st.integers())
def test_the_index_can_be_made_anew_from_the_table_in_any_order(
    changes: list[tuple[Due, dict[str, int] | None]], seed: int
) -> None:
    index = Waiting()
    follow(index, changes)
    rows = list(changed(changes).items())
    random.Random(seed).shuffle(rows)
    again = Waiting(rows + rows[::2])
    assert len(again) == len(index)
    assert again.by_hour() == index.by_hour()
    assert again.held == index.held
    assert again.due(HELD, 99) == index.due(HELD, 99)


@given(CHANGES)
def test_an_empty_index_is_left_when_everything_is_removed(
    changes: list[tuple[Due, dict[str, int] | None]],
) -> None:
    index = Waiting()
    follow(index, changes)
    for due in changed(changes):
        index.remove(due)
    assert len(index) == 0
    assert index.next_time is None
    assert index.by_hour() == {}
    assert index.held == {}


@given(DUES)
def test_a_due_time_is_a_key_of_a_table(due: Due) -> None:
    assert Due.from_key(due.key) == due


def test_a_message_has_an_entry_for_each_time_and_one_for_what_is_held() -> None:
    text = """
- dataset_types: [image]
  embargo_hours: 80
- dataset_types: [log]
  embargo_hours: 1
- dataset_types: [catalogue]
  embargo_hours: 0
"""
    message = Message(
        [
            *(dataset("image", visit=number, detector=2) for number in (1, 1, 2)),
            dataset("log", visit=1),
            dataset("catalogue", visit=1),
            dataset("image"),
            dataset("image", visit=9),
            dataset("log"),
            dataset("plot"),
        ],
        visit_records(1, timespan(EVENING)) + visit_records(2, timespan(EVENING + 5)),
    )
    found = entries(4, 70, selector(text).select(message, EVENING))
    assert found == {
        Due(EVENING + 80 * HOUR, 4, 70): {"image": 2},
        Due(EVENING + 80 * HOUR + 5, 4, 70): {"image": 1},
        Due(EVENING + HOUR, 4, 70): {"log": 1},
        Due(HELD, 4, 70): {"image": 2, "log": 1},
    }
    assert entries(4, 70, selector(text).select(Message([dataset("plot")]), 0)) == {}


def test_the_memory_of_the_index_depends_on_its_entries_alone() -> None:
    """Not on how many datasets these stand for, and not on what was removed before."""
    sizes = []
    for number in (1, 1_000_000):
        tracemalloc.start()
        try:
            index = Waiting()
            for n in range(1_500):
                index.put(*row(n, number))
                if n >= 500:
                    index.remove(row(n - 500, number)[0])
            sizes.append(tracemalloc.get_traced_memory()[0] / 500)
        finally:
            tracemalloc.stop()
        assert len(index) == 500
    assert max(sizes) < 700
    assert sizes[1] - sizes[0] < 200


def row(n: int, number: int) -> tuple[Due, dict[str, int]]:
    """Return an entry of a message with four of twenty types: few have the same four."""
    types = [f"type_{k}" for k in random.Random(n).sample(range(20), 4)]
    return Due(EVENING + n * 10**9, n % 6, 10**6 + n), dict.fromkeys(types, number + n)


def test_entries_come_in_the_order_in_which_they_are_due() -> None:
    rows = [row(n, 1) for n in range(1_000)]
    random.Random(1).shuffle(rows)
    index = Waiting()
    for due, numbers in rows:
        index.put(due, numbers)
    found = index.due(HELD, 1_000)
    assert all(a.time <= b.time for a, b in pairwise(found))
    assert len(found) == 1_000


def test_entries_with_the_same_types_and_numbers_keep_them_once() -> None:
    types = [f"type_{k}" for k in range(18)]
    tracemalloc.start()
    try:
        index = Waiting((Due(n, 0, n), dict.fromkeys(types, 1)) for n in range(2_000))
        size = tracemalloc.get_traced_memory()[0] / len(index)
    finally:
        tracemalloc.stop()
    assert size < 450
