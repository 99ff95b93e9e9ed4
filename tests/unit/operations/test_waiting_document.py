"""What waits, as the pages show it: the parts of all workers together, by hour and type."""

from __future__ import annotations

import time
from typing import Any

from app.downstream.waiting import HELD, Due, Waiting
from app.operations.pages.asking import NoAnswer
from app.operations.pages.documents import WindowsDocument
from app.operations.pages.waiting import (
    LISTED,
    KeptWaiting,
    WaitingDocument,
    WaitingHour,
    combined_waiting,
    waiting_figures,
)
from tests.unit.web.documents import NOW, every_page

SECOND = 1_000_000_000
HOUR = 3600.0


def combined(**answers: KeptWaiting | NoAnswer) -> WaitingDocument:
    windows, _ = every_page("x")["windows"]
    assert isinstance(windows, WindowsDocument)
    return combined_waiting(answers, windows)


def kept(**fields: Any) -> KeptWaiting:
    return KeptWaiting(**{"is_known": True, **fields})


def test_the_parts_of_all_workers_are_added_up() -> None:
    one = kept(
        messages=2,
        datasets=5,
        next_due=NOW + 90,
        hours=[WaitingHour(begin=HOUR, datasets={"image": 3, "kernel": 2})],
        held={"image": 1},
        without_rule={"raw": 7},
    )
    two = kept(
        messages=1,
        datasets=4,
        next_due=NOW + 60,
        hours=[
            WaitingHour(begin=0.0, datasets={"image": 1}),
            WaitingHour(begin=HOUR, datasets={"image": 3}),
        ],
        without_rule={"raw": 1, "bias": 2},
    )
    found = combined(a=one, b=two, c=NoAnswer("away"), d=KeptWaiting(without_rule={"raw": 1}))
    assert (found.messages, found.datasets, found.held_datasets) == (3, 9, 1)
    assert found.next_due == NOW + 60
    assert [(hour.begin, dict(hour.datasets)) for hour in found.hours] == [
        (0.0, {"image": 1}),
        (HOUR, {"image": 6, "kernel": 2}),
    ]
    assert found.without_rule == {"bias": 2, "raw": 9}
    assert found.not_answering == ["c", "d"]  # d still reads what waits
    assert [release.datasets for release in found.releases] == [10]


def test_a_list_stays_short_however_many_hours_there_are() -> None:
    numbers = {f"type-{number}": 1 for number in range(100)}
    hours = [WaitingHour(begin=hour * HOUR, datasets=numbers) for hour in range(100)]
    assert len(combined(a=kept(hours=hours)).hours) == LISTED // 100


def test_the_figures_of_an_index_leave_out_what_is_held() -> None:
    index = Waiting([(Due(5 * SECOND, 0, 1), {"image": 2}), (Due(HELD, 0, 1), {"kernel": 3})])
    found = waiting_figures(index)
    assert (found.datasets, found.held, found.next_due) == (2, 3, 5.0)  # overdue
    soon = int(time.time()) + 5000
    future = waiting_figures(Waiting([(Due(soon * SECOND + 7, 0, 1), {"image": 2})])).next_due
    assert future is not None
    assert future % HOUR == 0  # not when the observation ended, to the second
    assert 0 < future - soon <= HOUR
    assert waiting_figures(Waiting([(Due(HELD, 0, 1), {"kernel": 3})])).next_due is None
