"""The parts that a flush is made with."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from faust.windows import TumblingWindow

from app.announce.product_log import ProductLog
from app.butler.events.limits import EventLimits
from app.butler.private.removals import Removals
from app.butler.repository.chains import ChainKeeper
from app.butler.sessions.look import DatabaseLook
from app.butler.writer import ButlerWriter
from app.downstream.selection import Exclusion, Release, Selection
from app.downstream.selector import Selector
from app.downstream.withdrawn import Withdrawn
from app.intake.intake import Intake
from app.intake.received import Received
from app.intake.windows import WindowBounds
from app.kafka.sending import Sender
from app.settings.quiet_hours import QuietHours
from app.telemetry.exclusions import Exclusions
from app.telemetry.flush_reports import FlushReports
from models.product import Products

__all__ = ["Lane", "Parts", "PartsNotOpenError", "Replica", "new_intake", "tumbling_boundary"]

T = TypeVar("T")


class PartsNotOpenError(RuntimeError):
    """The application's parts were accessed before the worker opened them."""


@dataclass(frozen=True, kw_only=True)
class Lane:
    """What one window at a time is written with, independently of the other lanes.

    It has a thread, and a Butler that only this thread uses (rule bounded-database-calls).

    Attributes
    ----------
    writer : `ButlerWriter`
        Writes windows into the repository.
    chain_keeper : `ChainKeeper`
        Prepends runs to their chains.
    reports : `FlushReports`
        Reports flushes to the log, the metrics and the status pages.
    thread : `~concurrent.futures.ThreadPoolExecutor`
        The thread.
    removals : `Removals` or `None`
        If this is a downstream repository: how often something was removed from it, which each
        transaction compares.
    """

    writer: ButlerWriter
    chain_keeper: ChainKeeper
    reports: FlushReports
    thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="lane")
    )
    removals: Removals | None = None

    async def run(self, call: Callable[[], T]) -> T:
        """Make a call in the lane's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, call)


@dataclass(frozen=True, kw_only=True)
class Replica:
    """How a downstream repository is filled.

    Attributes
    ----------
    universe : `tuple` [`str`, `int`]
        Namespace and version of its dimension universe.
    selector : `Selector` or `None`
        Selects what is released; `None`: everything is, at once.
    staging : `str` or `None`
        URI of the root from which artifacts get into its datastore; `None`: they stay.
    replaces_records : `bool`
        Whether stored dimension records get the values that new messages have of them.
    quiet_hours : `QuietHours` or `None`
        Hours in which only datasets without an embargo are released.
    clock : `~collections.abc.Callable`
        Returns the time, in nanoseconds of Unix time.
    exclusions : `Exclusions`
        Reports what is not released.
    removals : `~collections.abc.Callable`
        Returns how often something was removed; one thread may call it at a time.
    """

    universe: tuple[str, int]
    selector: Selector | None = None
    staging: str | None = None
    replaces_records: bool = False
    quiet_hours: QuietHours | None = None
    clock: Callable[[], int] = time.time_ns
    exclusions: Exclusions = field(default_factory=Exclusions)
    removals: Callable[[], int] = int

    @property
    def longest_embargo(self) -> int:
        """The longest embargo of the rules, in nanoseconds."""
        return 0 if self.selector is None else self.selector.rules.longest_embargo

    def release_time(self) -> int:
        """Return the time up to which is released what is due; 0 in quiet hours.

        What has no embargo is due at 0.
        """
        now = self.clock()
        is_quiet = self.quiet_hours is not None and self.quiet_hours.include(now)
        return 0 if is_quiet else now

    def select(
        self, message: Products, now: int, since: int, withdrawn: Withdrawn | None = None
    ) -> Selection:
        """Return what becomes of the datasets of a message (see `Selector.select`).

        Parameters
        ----------
        message, now, since
            As for `Selector.select`.
        withdrawn : `Withdrawn`, optional
            What must not come back.
        """
        left_out: Counter[str] = Counter()
        if withdrawn is not None:
            others, left_out = withdrawn.leave_out(message.datasets)
            message = replace(message, datasets=others)
        if self.selector is not None:
            selection = self.selector.select(message, now, since)
        else:
            everything = Release(
                message.datasets, message.dimension_records, message.dataset_types, message.chains
            )
            selection = Selection(everything, {}, {}, {})
        if left_out:
            selection.excluded[Exclusion.WITHDRAWN] = left_out
        return selection


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts that flushes are made with.

    Attributes
    ----------
    intake : `Intake`
        Ledger and windows.
    lanes : `~collections.abc.Sequence` [`Lane`]
        As many windows are written at once.
    sender : `Sender`
        Sends dead letters, announcements, chain updates and the product log.
    product_log : `ProductLog`
        Whether, and with what size limit, the product log is written.
    database_look : `DatabaseLook`
        Asks the database for an answer, beside the lanes.
    list_directory : `str` or `None`
        Where dataset lists are written, any ``lsst.resources`` URI; `None`: nothing is announced.
    announces_unobserved : `bool`
        Whether datasets without visit, exposure or group are announced.
    max_event_bytes : `int`
        Size of the largest event that is accepted, in bytes.
    retry_wait_max : `float`
        Longest wait between two attempts of a step, in seconds.
    limits : `EventLimits`
        How much an event may have.
    replica : `Replica` or `None`
        If this is a downstream repository: what is released to it.
    """

    intake: Intake[Received]
    lanes: Sequence[Lane]
    sender: Sender
    product_log: ProductLog
    database_look: DatabaseLook
    list_directory: str | None
    max_event_bytes: int
    retry_wait_max: float
    announces_unobserved: bool = True
    limits: EventLimits = field(default_factory=EventLimits)
    replica: Replica | None = None

    def shut_down(self) -> None:
        """End the lanes' threads once their current calls return."""
        for lane in self.lanes:
            lane.thread.shutdown(wait=False, cancel_futures=True)


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
