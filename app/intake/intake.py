"""Events that were received and are not yet written: ledger, open window, windows in flight.

The agents collect and flush share this one object.  Property tests check its invariants: an event
is acked once, only after its window is settled, in offset order, and only in the epoch in which it
was received.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, TypeVar

from app.intake.fetch_ahead import FetchAhead
from app.intake.ledger import Entry, Ledger, Partition, Receipt
from app.intake.windows import Arrival, Window, WindowBounds, Windows

__all__ = ["Intake"]

T = TypeVar("T")


class Intake(Generic[T]):
    """The ledger and the windows, kept consistent with each other.

    Parameters
    ----------
    bounds : `WindowBounds`
        When a window closes.
    max_bytes_held : `int`
        Bound on the bytes of all events that are not settled yet.
    boundary_after : `~collections.abc.Callable`
        Maps a time to the end of its tumbling window (see `Windows`).

    Attributes
    ----------
    ahead : `FetchAhead`
        What was fetched and has not arrived: at most as many bytes as a window has.
    max_events : `int`
        Bound on the events in windows: a full window for each lane, and one that waits.  More do
        not make the write faster.
    """

    def __init__(
        self, bounds: WindowBounds, max_bytes_held: int, boundary_after: Callable[[float], float]
    ) -> None:
        self.ledger = Ledger()
        self.ahead = FetchAhead(bounds.bytes)
        self.windows: Windows[T] = Windows(bounds, boundary_after)
        self.max_bytes_held = max_bytes_held
        self.max_events = (bounds.lanes + 1) * bounds.events
        self.in_flight: set[Window[T]] = set()
        self._waiting: deque[Window[T]] = deque()
        self._postponed: deque[Window[T]] = deque()

    @property
    def epoch(self) -> int:
        """The current epoch."""
        return self.ledger.epoch

    @property
    def is_empty(self) -> bool:
        """Whether everything that was received is settled or postponed."""
        return self.windows.open is None and not self.in_flight

    @property
    def events(self) -> int:
        """Number of events in windows, without those that are postponed."""
        waiting = 0 if self.windows.open is None else len(self.windows.open.arrivals)
        return waiting + sum(len(window.arrivals) for window in self.in_flight)

    @property
    def has_room(self) -> bool:
        """Whether another event may be taken: below the bounds, or if nothing is held.

        Postponed events, which may wait for long, leave room for others up to twice the bound on
        bytes.
        """
        held = self.ledger.bytes_held
        most = 2 * self.max_bytes_held if self.is_empty else self.max_bytes_held
        return held < most and self.events < self.max_events

    def revoke(self) -> None:
        """Drop everything; it will be redelivered, to this worker or to another."""
        self.ledger.revoke()
        self.ahead.forget()
        self._drop_windows()

    def start_at(
        self, starts: Mapping[Partition, int], restarted: Collection[Partition] = ()
    ) -> None:
        """Set the offsets at which reading starts (see `Ledger.start_at`)."""
        self.ledger.start_at(starts, restarted)
        # Every assigned partition starts now.  A fetch that ended after the revocation may have
        # handed over messages of other partitions, which Faust drops.
        self.ahead.forget()

    def drop_reset(self) -> frozenset[Partition]:
        """Return partitions whose log was reset (see `Ledger.drop_reset`); drop all windows."""
        resets = self.ledger.drop_reset()
        if resets:
            self._drop_windows()
        return resets

    def receive(
        self,
        partition: Partition,
        offset: int,
        size: int,
        ack: Callable[[], object],
        *,
        sent_at: float = 0.0,
        now: float = 0.0,
    ) -> tuple[Receipt, Entry | None]:
        """Enter an event into the ledger (see `Ledger.receive`); after a jump, drop all windows."""
        self.ahead.arrived(partition, offset)
        receipt, entry = self.ledger.receive(partition, offset, size, ack, sent_at=sent_at, now=now)
        if receipt is Receipt.JUMPED:
            self._drop_windows()
        return receipt, entry

    def read_again(
        self, partition: Partition, offset: int, size: int, *, sent_at: float, now: float
    ) -> Entry | None:
        """Enter an event that was acked before (see `Ledger.read_again`)."""
        return self.ledger.read_again(partition, offset, size, sent_at=sent_at, now=now)

    def misses_tail(self) -> bool:
        """Return whether to read again (see `Ledger.misses_tail`); if so, drop all windows.

        While there is no room, fetched events wait in Faust's queues.
        """
        missing = self.has_room and self.ledger.misses_tail()
        if missing:
            self._drop_windows()
        return missing

    def add(self, entry: Entry, payload: T, now: float) -> list[Window[T]]:
        """Put an event that has an entry into its window; return the windows to flush.

        At a bound on what is held, the open window closes at once.

        Parameters
        ----------
        entry : `Entry`
            The ledger entry of the event.
        payload : `T`
            The event itself.
        now : `float`
            Time of arrival, in seconds of the monotonic clock.
        """
        closed = self.windows.add(Arrival(entry, payload), now)
        if not self.has_room:
            closed += self.windows.close()
        return self._launch(closed)

    def close_due(self, now: float) -> list[Window[T]]:
        """Close the window whose boundary has passed; return the windows to flush."""
        return self._launch(self.windows.close_due(now))

    def close(self) -> list[Window[T]]:
        """Close the open window, since no more events will come; return the windows to flush."""
        return self._launch(self.windows.close())

    def take(self) -> Window[T] | None:
        """Take the oldest window that waits for a lane, joined with later ones that fit.

        Windows wait if all lanes are busy; one write of several costs less than a write of each.
        What waits is shared between the lanes, unless it is less than a portion.

        Returns
        -------
        window : `Window` or `None`
            `None` if none waits: it was joined to an earlier one, or dropped.
        """
        if not self._waiting:
            return None
        bounds = self.windows.bounds
        waiting = sum(window.bytes for window in self._waiting)
        share = max(bounds.portion, waiting // bounds.lanes)
        first = window = self._waiting.popleft()
        while self._waiting and self._may_join(window, self._waiting[0], share):
            more = window.joined(self._waiting[0])
            self.in_flight.discard(self._waiting.popleft())
            window = more
        if window is not first:
            self.in_flight.discard(first)
            self.in_flight.add(window)
        return window

    def _may_join(self, window: Window[T], later: Window[T], share: int) -> bool:
        if window.is_apart or later.is_apart:
            return False
        joined = window.joined(later)
        return joined.bytes <= share and joined.fits(self.windows.bounds)

    @property
    def postponed(self) -> int:
        """Number of events that wait for a turn of their own, or have it now."""
        apart = [window for window in self.in_flight if window.is_apart]
        return sum(len(window.arrivals) for window in (*self._postponed, *apart))

    def postpone(
        self,
        window: Window[T],
        parts: Sequence[tuple[Collection[Arrival[T]], int, bool]],
        due: float,
    ) -> Window[T]:
        """Take events out of a window: each part becomes a window that is put back later.

        Parameters
        ----------
        window : `Window`
            A window in flight.
        parts : `~collections.abc.Sequence`
            The events of each part, how often it was confirmed that the part is at fault, and
            whether it has failed.
        due : `float`
            When the parts may be put back, in seconds of the monotonic clock.

        Returns
        -------
        rest : `Window`
            The window of the other events, in flight instead of the given one.
        """
        taken: set[Arrival[T]] = set()
        for arrivals, confirmed, is_failing in parts:
            taken.update(arrivals)
            part = window.part([a for a in window.arrivals if a in arrivals])
            part.closes_at, part.is_apart = due, True
            part.confirmed, part.is_failing = confirmed, is_failing
            self._postponed.append(part)
        rest = window.part([a for a in window.arrivals if a not in taken])
        self.in_flight.discard(window)
        if rest.arrivals:
            self.in_flight.add(rest)
        return rest

    def put_back(self, now: float) -> list[Window[T]]:
        """Put a postponed window back that is due; return the windows to flush.

        There is one at a time, so that other windows are flushed in between.  Those that have not
        failed come first, then the oldest.

        Parameters
        ----------
        now : `float`
            In seconds of the monotonic clock.
        """
        if any(window.is_apart for window in self.in_flight):
            return []
        due = (window for window in self._postponed if window.closes_at <= now)
        first = min(due, key=lambda window: window.is_failing, default=None)
        if first is None:
            return []
        self._postponed.remove(first)
        return self._launch([first])

    def is_current(self, window: Window[T]) -> bool:
        """Return whether this worker may still write and ack a window's events."""
        return window.epoch == self.epoch

    def settle(self, window: Window[T]) -> list[Entry]:
        """Settle a window's events; return the entries that were acked (see `Ledger.settle`)."""
        if not self.is_current(window):
            return []
        self.in_flight.discard(window)
        return self.ledger.settle([arrival.entry for arrival in window.arrivals])

    def _drop_windows(self) -> None:
        self.windows.close()
        self.in_flight.clear()
        self._waiting.clear()
        self._postponed.clear()

    def _launch(self, closed: list[Window[T]]) -> list[Window[T]]:
        self.in_flight.update(closed)
        self._waiting.extend(closed)
        return closed
