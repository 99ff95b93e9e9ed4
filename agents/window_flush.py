"""The flush of one window, step by step.

Every step is idempotent and is retried until it succeeds.  If the window's partitions are revoked,
the window is abandoned, and its events are redelivered to this worker or to another.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from agents.decoded_events import DecodedEvents
from agents.flush_summary import flushed_events, summary_of
from agents.logged_products import LoggedProducts
from agents.released_events import ReleasedEvents
from agents.steps import until_done
from agents.waiting_table import WaitingTable
from app.announce.announcements import announce, batch_id_of
from app.announce.dead_letters import send_dead_letter
from app.butler.commit.isolation import Turn
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import AbandonedError
from app.butler.outcome import Outcome, Postponed, Rejection, WriteReport, Written
from app.butler.repository.chains import Position
from app.butler.writer import PreparedWindow
from app.downstream.due_messages import DueMessage
from app.downstream.selection import Selection
from app.downstream.withdrawn import Withdrawn
from app.intake.entries import Entry
from app.intake.received import Received
from app.intake.windows import Arrival, Window
from app.parts import Lane, Parts
from app.telemetry.flush_reports import FlushSummary
from app.telemetry.labels import Step

__all__ = ["WindowFlush"]

#: Shortest wait until events are tried again that were tried apart from others, in seconds.
PAUSE = 5.0


@dataclass
class WindowFlush:
    """The flush of one window.

    Attributes
    ----------
    window : `Window`
        The window, with its events as they were received.
    parts : `Parts`
        The parts that all flushes are made with.
    lane : `Lane`
        The lane in which the window is written.
    waiting : `WaitingTable` or `None`
        Keeps what is not due, if this is a downstream repository.
    outcomes : `dict` [`Arrival`, `Outcome`]
        The outcome of each event that has one so far.
    """

    window: Window[Received]
    parts: Parts
    lane: Lane
    waiting: WaitingTable | None = None
    outcomes: dict[Arrival[Received], Outcome] = field(default_factory=dict)
    _prepared: PreparedWindow[Arrival[Received]] | None = None
    _report: WriteReport[Arrival[Received]] | None = None
    _parsed: PreparedWindow[Arrival[Received]] = field(default_factory=dict)
    _selections: Mapping[Arrival[Received], Selection] = field(default_factory=dict)
    _positions: Mapping[tuple[str, str], Position] = field(default_factory=dict)
    _letters_sent: set[Arrival[Received]] = field(default_factory=set)
    _started: float = field(default_factory=time.monotonic)
    _step_ended: float = field(default_factory=time.monotonic)
    _step_seconds: dict[str, float] = field(default_factory=dict)
    _prepare_attempts: int = 0
    _write_attempts: int = 0
    _chain_attempts: int = 0
    _postponed: int = 0

    def __post_init__(self) -> None:
        self._products = LoggedProducts(self.parts, self.lane)

    async def run(self) -> bool:
        """Run all steps, and ack the events; return whether the window was ours to the end."""
        # What is in one line runs at the same time.
        stages: list[dict[Step, Callable[[], Awaitable[None]]]] = [
            {Step.READ: self._prepare},
            {Step.WRITE: self._write},
            {Step.PREPEND_TO_CHAINS: self._prepend_to_chains},
            {Step.SET_ASIDE: self._set_aside},
            {Step.ANNOUNCE: self._announce, Step.LOG_PRODUCTS: self._log_products},
        ]
        if self.waiting is not None:
            stages.append({Step.KEEP_WAITING: partial(self._keep_waiting, self.waiting)})
        try:
            for steps in stages:
                ended = await asyncio.gather(
                    *(self._run_step(step, call) for step, call in steps.items()),
                    return_exceptions=True,
                )
                for error in filter(None, ended):
                    raise error
        except AbandonedError:
            self._report_abandoned()
            return False
        if self.window.arrivals:
            self._report_done(self.parts.intake.settle(self.window))
            self._report_excluded()
        return True

    async def _run_step(self, step: Step, call: Callable[[], Awaitable[None]]) -> None:
        await until_done(step, call, self.lane.reports, self.parts.retry_wait_max, self._is_current)
        # Of two steps at the same time, the later end counts from the other's on.
        since, self._step_ended = self._step_ended, time.monotonic()
        self._step_seconds[step.value] = round(self._step_ended - since, 3)

    async def _prepare(self) -> None:
        """Decode and parse the events, and check their artifacts."""
        if self.waiting is not None:
            await self.waiting.wait_restored(looks_again=self._prepare_attempts > 0)
        self._prepared = await self.lane.run(self._prepare_events)

    def _turn(self, attempts: int) -> Turn:
        window = self.window
        return Turn(attempts > 1 or window.is_apart, window.is_apart, window.confirmed)

    def _prepare_events(self) -> PreparedWindow[Arrival[Received]]:
        events = self._decoded_events()
        self._prepare_attempts += 1
        prepared = self.lane.writer.prepare(
            events, is_current=self._is_current, turn=self._turn(self._prepare_attempts)
        )
        self.outcomes = dict(events.rejected)
        return prepared

    def _decoded_events(self) -> DecodedEvents:
        arrivals, max_bytes, replica = (
            self.window.arrivals,
            self.parts.max_event_bytes,
            self.parts.replica,
        )
        if replica is None:
            return DecodedEvents(arrivals, max_bytes, self.parts.limits)
        withdrawn = Withdrawn() if self.waiting is None else self.waiting.withdrawn
        if self.lane.removals is not None:
            self.lane.removals.expected = withdrawn.number
        events = ReleasedEvents(arrivals, max_bytes, replica, withdrawn)
        self._selections, self._positions = events.selections, events.positions
        return events

    async def _write(self) -> None:
        """Write the events, in one transaction."""
        if self._prepared is None:
            await self._prepare()
        # A retry prepares them again: an outdated lookup may be why this attempt fails.
        prepared, self._prepared = self._prepared or {}, None
        self._write_attempts += 1
        turn = self._turn(self._write_attempts)
        self._parsed = prepared
        self._products.begin(prepared.values())
        self._report = await self.lane.run(
            lambda: self.lane.writer.commit(prepared, is_current=self._is_current, turn=turn)
        )
        self._products.committed()
        self.outcomes.update(self._report.outcomes)
        if self._report.postponed:
            self._postpone(self._report.postponed)

    def _postpone(self, postponed: Sequence[Postponed[Arrival[Received]]]) -> None:
        """Leave events to a later flush of their own."""
        if not self._is_current():
            raise AbandonedError
        for group in postponed:
            entries = [arrival.entry for arrival in group.keys]
            self.lane.reports.postponed(
                [f"{entry.partition[1]}-{entry.offset}" for entry in entries],
                group.reason,
                is_failing=group.is_failing,
            )
        now = time.monotonic()
        pause = max(PAUSE, 2 * (now - self._started)) if self.window.is_apart else 0.0
        parts = [(group.keys, group.confirmed, group.is_failing) for group in postponed]
        self.window = self.parts.intake.postpone(self.window, parts, now + pause)
        self._postponed += sum(len(group.keys) for group in postponed)

    async def _prepend_to_chains(self) -> None:
        """Make sure that every run is in its chain before it is announced as written."""
        pairs = sorted({pair for written in self._written.values() for pair in written.chains})
        if not pairs:
            return
        self._chain_attempts += 1
        is_repeated = self._turn(self._chain_attempts).is_repeated
        held_up: dict[tuple[str, str], str] = {}
        shared = held_up if is_repeated else None
        refused = await self.lane.run(
            lambda: self.lane.chain_keeper.ensure(pairs, shared, self._positions)
        )
        waiting: defaultdict[str, list[Arrival[Received]]] = defaultdict(list)
        for arrival, written in self._written.items():
            rejections = [refused[pair] for pair in written.chains if pair in refused]
            reasons = [held_up[pair] for pair in written.chains if pair in held_up]
            if rejections:
                self.outcomes[arrival] = rejections[0]
            elif reasons:
                waiting[reasons[0]].append(arrival)
        if waiting:
            self._postpone(
                [Postponed((*arrivals,), why, is_failing=True) for why, arrivals in waiting.items()]
            )

    async def _set_aside(self) -> None:
        """Send the events that can never be written to the dead letters, each once."""
        for arrival, rejection in self._rejected.items():
            if arrival not in self._letters_sent:
                letter = await send_dead_letter(self.parts.sender, arrival, rejection)
                self._letters_sent.add(arrival)
                self.lane.reports.set_aside(letter)

    async def _announce(self) -> None:
        """Announce every valid dataset of the window, whether it was inserted now or earlier."""
        parts = self.parts
        if found := list(self._written.values()):
            where, unobserved = parts.list_directory, parts.announces_unobserved
            await announce(parts.sender, where, self.batch_id, found, unobserved=unobserved)

    async def _log_products(self) -> None:
        """Send every valid dataset of the window to the product log, if that is on."""
        written = [
            event if written.left_out is None else event.only(written.dataset_ids)
            for arrival, written in self._written.items()
            if isinstance(event := self._parsed.get(arrival), ParsedEvent)
        ]
        await self._products.send(self.batch_id, written)

    async def _keep_waiting(self, table: WaitingTable) -> None:
        """Write what is not due to the table, and remove what was waiting and is written."""
        await table.keep_rest(self.window.arrivals, self._selections)

    @property
    def batch_id(self) -> UUID:
        """The identity of the batch; the same events have the same one."""
        return batch_id_of(arrival.entry for arrival in self.window.arrivals)

    @property
    def _written(self) -> dict[Arrival[Received], Written]:
        outcomes = ((arrival, self.outcomes[arrival]) for arrival in self.window.arrivals)
        return {arrival: outcome for arrival, outcome in outcomes if isinstance(outcome, Written)}

    @property
    def _rejected(self) -> dict[Arrival[Received], Rejection]:
        """What becomes a dead letter: events, and those of which a part could not be written."""
        rejected: dict[Arrival[Received], Rejection] = {}
        for arrival in self.window.arrivals:
            outcome = self.outcomes[arrival]
            rejection = outcome if isinstance(outcome, Rejection) else outcome.left_out
            if rejection is not None:
                rejected[arrival] = rejection
        return rejected

    def _is_current(self) -> bool:
        return self.parts.intake.is_current(self.window)

    def _report_done(self, acked: Sequence[Entry]) -> None:
        report = self._report or WriteReport({})
        summary = self._summary(report, acked)
        events = flushed_events(self.window, self.outcomes)
        self.lane.reports.flushed(summary, report, events)
        self.lane.reports.acked(acked)

    def _report_excluded(self) -> None:
        """Report what is excluded of the messages that were received for the first time."""
        for arrival in self.window.arrivals:
            selection = self._selections.get(arrival)
            if selection and self.parts.replica and not isinstance(arrival.payload, DueMessage):
                self.parts.replica.exclusions.add(selection.excluded)

    def _report_abandoned(self) -> None:
        summary = self._summary(WriteReport({}), None) if self.window.arrivals else None
        events = flushed_events(self.window, {}, is_abandoned=True)
        self.lane.reports.abandoned(self.window.epoch, summary, events)

    def _summary(
        self, report: WriteReport[Arrival[Received]], acked: Sequence[Entry] | None
    ) -> FlushSummary:
        return summary_of(
            self.window,
            report,
            acked,
            batch_id=self.batch_id,
            dead_letters=len(self._letters_sent),
            postponed=self._postponed,
            started=self._started,
            step_seconds=self._step_seconds,
        )
