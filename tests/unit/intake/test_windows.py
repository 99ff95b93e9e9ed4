"""Tumbling windows on arrival (rules no-data-in-windowed-tables, windows-on-arrival)."""

from __future__ import annotations

from dataclasses import replace

from app.intake.ledger import Entry
from app.intake.windows import Arrival, WindowBounds, Windows

BOUNDS = WindowBounds(seconds=2.0, events=3, bytes=100)


def every_two_seconds(now: float) -> float:
    return now - now % 2.0 + 2.0


def arrival(size: int = 1, offset: int = 0) -> Arrival[str]:
    return Arrival(Entry(("t", 0), offset, size, epoch=4, ack=list), "payload")


def test_a_window_closes_at_its_boundary_not_after_its_length() -> None:
    windows: Windows[str] = Windows(BOUNDS, every_two_seconds)
    assert windows.add(arrival(), now=11.5) == []
    assert windows.close_due(11.9) == []
    (window,) = windows.close_due(12.0)
    assert len(window.arrivals) == 1
    assert windows.open is None


def test_an_arrival_after_the_boundary_closes_the_window_before_it() -> None:
    windows: Windows[str] = Windows(BOUNDS, every_two_seconds)
    windows.add(arrival(offset=1), now=10.1)
    (closed,) = windows.add(arrival(offset=2), now=12.5)
    assert [a.entry.offset for a in closed.arrivals] == [1]
    assert windows.open is not None
    assert [a.entry.offset for a in windows.open.arrivals] == [2]


def test_a_window_with_the_maximum_number_of_events_closes_at_once() -> None:
    windows: Windows[str] = Windows(BOUNDS, every_two_seconds)
    closed = [window for _ in range(7) for window in windows.add(arrival(), now=10.1)]
    assert [len(window.arrivals) for window in closed] == [3, 3]
    assert windows.open is not None
    assert len(windows.open.arrivals) == 1


def test_a_window_with_the_maximum_number_of_bytes_closes_at_once() -> None:
    windows: Windows[str] = Windows(BOUNDS, every_two_seconds)
    assert windows.add(arrival(99), now=10.1) == []
    (closed,) = windows.add(arrival(1), now=10.2)
    assert closed.bytes == 100


def test_with_several_lanes_a_window_closes_with_a_portion_of_the_largest_one() -> None:
    windows: Windows[str] = Windows(replace(BOUNDS, lanes=2, bytes=800), every_two_seconds)
    assert windows.add(arrival(99), now=10.1) == []
    (closed,) = windows.add(arrival(1), now=10.2)
    assert closed.bytes == 100


def test_an_event_larger_than_a_window_gets_its_own_window() -> None:
    windows: Windows[str] = Windows(BOUNDS, every_two_seconds)
    (closed,) = windows.add(arrival(5000), now=10.1)
    assert len(closed.arrivals) == 1


def test_a_window_has_the_epoch_of_its_events() -> None:
    windows: Windows[str] = Windows(BOUNDS, every_two_seconds)
    windows.add(arrival(), now=1.0)
    (window,) = windows.close()
    assert window.epoch == 4


def test_closing_returns_no_window_if_none_is_open() -> None:
    windows: Windows[str] = Windows(BOUNDS, every_two_seconds)
    assert windows.close() == []
    assert windows.close_due(1e9) == []
