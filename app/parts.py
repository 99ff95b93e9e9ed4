"""The parts that a flush is made with."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from faust.windows import TumblingWindow

from app.butler.repository.chains import ChainKeeper
from app.butler.writer import ButlerWriter
from app.intake.intake import Intake
from app.intake.received import Received
from app.intake.windows import WindowBounds
from app.kafka.sending import Sender
from app.telemetry.flush_reports import FlushReports

__all__ = ["Parts", "PartsNotOpenError", "new_intake", "tumbling_boundary"]


class PartsNotOpenError(RuntimeError):
    """The application's parts were accessed before the worker opened them."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts that a flush is made with.

    Attributes
    ----------
    intake : `Intake`
        Ledger and windows.
    writer : `ButlerWriter`
        Writes windows into the repository.
    chain_keeper : `ChainKeeper`
        Prepends runs to their chains.
    sender : `Sender`
        Sends dead letters, announcements and chain updates.
    reports : `FlushReports`
        Reports flushes to the log, the metrics and the status pages.
    list_directory : `str`
        Where dataset lists are written, any ``lsst.resources`` URI.
    max_event_bytes : `int`
        Size of the largest event that is accepted, in bytes.
    retry_wait_max : `float`
        Longest wait between two attempts of a step, in seconds.
    prepare_thread, write_thread : `~concurrent.futures.ThreadPoolExecutor`
        One thread each, which has a Butler of its own: one window is prepared while another is
        written (rule bounded-database-calls).
    """

    intake: Intake[Received]
    writer: ButlerWriter
    chain_keeper: ChainKeeper
    sender: Sender
    reports: FlushReports
    list_directory: str
    max_event_bytes: int
    retry_wait_max: float
    prepare_thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="prepare")
    )
    write_thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="write")
    )

    def shut_down(self) -> None:
        """End both threads once their current calls return."""
        for thread in (self.prepare_thread, self.write_thread):
            thread.shutdown(wait=False, cancel_futures=True)


def new_intake(bounds: WindowBounds, max_bytes_held: int) -> Intake[Received]:
    """Return an empty intake, whose windows are Faust's tumbling windows."""
    return Intake(bounds, max_bytes_held, tumbling_boundary(bounds.seconds))


def tumbling_boundary(seconds: float) -> Callable[[float], float]:
    """Return a function that maps a time to the end of its tumbling window.

    Parameters
    ----------
    seconds : `float`
        Length of the windows, in seconds.
    """
    window = TumblingWindow(seconds)

    def boundary_after(now: float) -> float:
        # Faust's range ends 0.1 s before the next one starts; the boundary is that start.
        start, _ = window.current(now)
        return start + seconds

    return boundary_after
