"""Tumbling windows on arrival, held in memory.

In memory is safe, since the offsets of what they hold are held back by the ledger.  Time is a
monotonic clock's: event time would scatter a backlog over tiny windows, and a pod's clock that is
an hour ahead would hold the ledger's head for an hour.

Pure: no I/O, no clock of its own, no Faust but the window arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from faust.windows import TumblingWindow

from app.intake.ledger import Entry

__all__ = ["Arrival", "Window", "WindowBounds", "Windows"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WindowBounds:
    """When a window closes.

    Attributes
    ----------
    seconds : `float`
        Length of a window.
    events : `int`
        A window of so many events closes at once.
    bytes : `int`
        A window of so many bytes closes at once.
    """

    seconds: float
    events: int
    bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Arrival(Generic[T]):
    """An event in a window: its ledger entry, and what it holds; equal only to itself."""

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
        The assignment that all its events were received under.
    arrivals : `list` [`Arrival`]
        In order of arrival.
    bytes : `int`
        Sum of its events' sizes.
    """

    opened_at: float
    closes_at: float
    epoch: int
    arrivals: list[Arrival[T]] = field(default_factory=list)
    bytes: int = 0

    def joined(self, later: Window[T]) -> Window[T]:
        """Return this window and one that follows it as one."""
        return Window(
            self.opened_at,
            later.closes_at,
            self.epoch,
            self.arrivals + later.arrivals,
            self.bytes + later.bytes,
        )

    def fits(self, bounds: WindowBounds) -> bool:
        """Tell whether it is within the bounds on a window's size."""
        return len(self.arrivals) <= bounds.events and self.bytes <= bounds.bytes


class Windows(Generic[T]):
    """The one open window; windows follow one another, so they close in order of arrival."""

    def __init__(self, bounds: WindowBounds) -> None:
        self.bounds = bounds
        self.open: Window[T] | None = None
        self._tumbling = TumblingWindow(bounds.seconds)

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
            The windows that this closed: an earlier one that was due, or the event's own if full.
        """
        closed = self.close_due(now)
        if self.open is None:
            # Faust's range ends 0.1 s before the next one starts; the boundary is the start.
            start, _ = self._tumbling.current(now)
            self.open = Window(now, start + self.bounds.seconds, arrival.entry.epoch)
        self.open.arrivals.append(arrival)
        self.open.bytes += arrival.entry.size
        full = len(self.open.arrivals) >= self.bounds.events or self.open.bytes >= self.bounds.bytes
        return closed + self.close() if full else closed

    def close_due(self, now: float) -> list[Window[T]]:
        """Close the open window if its boundary has passed."""
        return self.close() if self.open is not None and now >= self.open.closes_at else []

    def close(self) -> list[Window[T]]:
        """Close the open window, if there is one, now."""
        window, self.open = self.open, None
        return [] if window is None else [window]
