"""Tumbling windows on arrival, held in memory.

Keeping them in memory is safe, since the ledger does not ack an event before its window is written.
Times come from a monotonic clock (rule windows-on-arrival): with event time, a backlog would make
many tiny windows, and a pod whose clock is an hour ahead would delay the acks by an hour.

Pure: no I/O, no clock, no Faust.  The caller provides the arithmetic of tumbling windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from app.intake.ledger import Entry

__all__ = ["Arrival", "Window", "WindowBounds", "Windows"]

T = TypeVar("T")

#: Portions of the largest window for each lane: more of them give all lanes work for longer, and
#: cost more transactions (docs/tuning.md has the measurement).
_PORTIONS_PER_LANE = 4


@dataclass(frozen=True, slots=True)
class WindowBounds:
    """When a window closes.

    Attributes
    ----------
    seconds : `float`
        Length of a window.
    events : `int`
        The most events of a window; with them it closes at once.
    bytes : `int`
        The most bytes of a window, except that one event may have more.
    lanes : `int`
        How many windows are written at once.
    """

    seconds: float
    events: int
    bytes: int
    lanes: int = 1

    @property
    def portion(self) -> int:
        """A window with this many bytes closes at once, so that each lane gets work in a burst.

        If all lanes are busy, windows that wait are joined again.
        """
        return self.bytes if self.lanes == 1 else self.bytes // (self.lanes * _PORTIONS_PER_LANE)


@dataclass(frozen=True, slots=True, eq=False)
class Arrival(Generic[T]):
    """An event in a window: its ledger entry and its content."""

    entry: Entry
    payload: T


@dataclass(slots=True, eq=False)
class Window(Generic[T]):
    """The events that become one Butler write.

    Attributes
    ----------
    closes_at : `float`
        The tumbling window's boundary, in seconds of the monotonic clock.
    epoch : `int`
        The epoch in which all its events were received.
    arrivals : `list` [`Arrival`]
        In order of arrival.
    bytes : `int`
        Sum of its events' sizes.
    is_apart : `bool`
        Whether its events were postponed; it is never joined with another window.
    confirmed : `int`
        How often it was confirmed that its only event is at fault.
    is_failing : `bool`
        Whether its events were postponed because their write failed.
    """

    closes_at: float
    epoch: int
    arrivals: list[Arrival[T]] = field(default_factory=list)
    bytes: int = 0
    is_apart: bool = False
    confirmed: int = 0
    is_failing: bool = False

    def joined(self, later: Window[T]) -> Window[T]:
        """Return one window with the events of this one and of a later one."""
        return Window(
            later.closes_at,
            self.epoch,
            self.arrivals + later.arrivals,
            self.bytes + later.bytes,
        )

    def part(self, arrivals: list[Arrival[T]]) -> Window[T]:
        """Return a window with some of this one's events."""
        size = sum(arrival.entry.size for arrival in arrivals)
        return replace(self, arrivals=arrivals, bytes=size)

    def fits(self, bounds: WindowBounds) -> bool:
        """Return whether the window is within the bounds on its size."""
        return len(self.arrivals) <= bounds.events and self.bytes <= bounds.bytes


class Windows(Generic[T]):
    """The open window.  There is one at a time, so windows close in the order of arrival.

    Parameters
    ----------
    bounds : `WindowBounds`
        When a window closes.
    boundary_after : `~collections.abc.Callable`
        Maps a time to the end of its tumbling window, both in seconds of the monotonic clock.
    """

    def __init__(self, bounds: WindowBounds, boundary_after: Callable[[float], float]) -> None:
        self.bounds = bounds
        self.open: Window[T] | None = None
        self._boundary_after = boundary_after

    def add(self, arrival: Arrival[T], now: float) -> list[Window[T]]:
        """Put an event into the window of its arrival.

        Parameters
        ----------
        arrival : `Arrival`
            The event.
        now : `float`
            Time of arrival, in seconds of the monotonic clock.

        Returns
        -------
        closed : `list` [`Window`]
            The windows that closed: an earlier one that was due, the event's own one, or both.
        """
        closed = self.close_due(now)
        if self.open is None:
            self.open = Window(self._boundary_after(now), arrival.entry.epoch)
        self.open.arrivals.append(arrival)
        self.open.bytes += arrival.entry.size
        is_full = len(self.open.arrivals) >= self.bounds.events
        return (
            closed + self.close() if is_full or self.open.bytes >= self.bounds.portion else closed
        )

    def close_due(self, now: float) -> list[Window[T]]:
        """Close the open window if its boundary has passed."""
        return self.close() if self.open is not None and now >= self.open.closes_at else []

    def close(self) -> list[Window[T]]:
        """Close the open window now, if there is one."""
        window, self.open = self.open, None
        return [] if window is None else [window]
