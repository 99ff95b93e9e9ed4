"""Flush, the sink: each window becomes one Butler write, is announced, and only then is acked.

Every step is idempotent and is retried for as long as it takes, or until the window's partitions
are revoked: then the window is abandoned, and its events are delivered again, here or elsewhere.
Windows are written one after another, in the order of their closing, each while the next is read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from faust.types import StreamT

from agents.steps import in_thread, until_done
from app import app, topics
from app.announce.announcements import batch_id_of, chain_updates_of, write_dataset_list
from app.announce.sending import send, send_dead_letter
from app.butler.failures import AbandonedError
from app.butler.outcome import Rejection, WriteReport, Written
from app.butler.writer import PreparedWindow
from app.intake.received import Received
from app.intake.windows import Arrival, Window
from app.telemetry import metrics
from models.errors import InvalidEventError
from models.prompt_output import PromptOutput

logger = structlog.get_logger("butler_writer")


@app.agent(app.closed_windows)
async def flush(windows: StreamT[Window[Received]]) -> None:
    """Write each closed window into the Butler, announce it, and ack its events."""
    # An exception in one of the tasks leaves the agent (rule no-exception-leaves-an-agent).
    async with asyncio.TaskGroup() as tasks:
        under_way: asyncio.Task[None] | None = None
        async for _ in windows:
            if (window := app.intake.take()) is None:
                continue  # it was joined to one before it
            next_one = Flush(window)
            if not await next_one.take_through(next_one.read):
                continue
            if under_way is not None:
                await under_way
            under_way = tasks.create_task(next_one.run())


@dataclass
class Flush:
    """The flush of one window, step by step.

    Attributes
    ----------
    prepared : `~app.butler.writer.PreparedWindow`
        Its events, prepared for the commit; `None` before that.
    written : `list`
        The events that are in the Butler, each with what was written of it.
    dead : `list`
        The events that never can be, each with the reason.
    """

    window: Window[Received]
    prepared: PreparedWindow[Arrival[Received]] | None = None
    written: list[tuple[Arrival[Received], Written]] = field(default_factory=list)
    dead: list[tuple[Arrival[Received], Rejection]] = field(default_factory=list)
    letters_sent: int = 0
    report: WriteReport[Arrival[Received]] | None = None
    started: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        """Take the window, which has been read, through all other steps, and settle it."""
        if await self.take_through(
            self.write, self.prepend_to_chains, self.set_aside, self.announce
        ):
            acked = app.intake.settle(self.window)
            app.room.set()
            self._report(acked, time.monotonic() - self.started)

    async def take_through(self, *steps: Callable[[], Awaitable[None]]) -> bool:
        """Take the window through some steps; tell whether it is still ours."""
        try:
            for step in steps:
                await until_done(self.window, step)
        except AbandonedError:
            logger.info("window abandoned, its events are delivered again", epoch=self.window.epoch)
            return False
        return True

    async def read(self) -> None:
        """Read what the window's events say, and look for their artifacts, in a thread."""
        events = {
            arrival: arrival.payload.output
            for arrival in self.window.arrivals
            if isinstance(arrival.payload.output, PromptOutput)
        }
        self.prepared = await in_thread(
            app.reader, lambda: app.writer.prepare(events, is_current=self._is_current)
        )

    async def write(self) -> None:
        """Write the window's events, in the Butler's own thread, in one transaction."""
        if self.prepared is None:
            await self.read()
        # A retry prepares them again: this attempt may fail because of what was prepared.
        prepared, self.prepared = self.prepared or {}, None
        self.report = report = await in_thread(
            app.database, lambda: app.writer.commit(prepared, is_current=self._is_current)
        )
        self.written, self.dead = [], []
        for arrival in self.window.arrivals:
            output = arrival.payload.output
            invalid = isinstance(output, InvalidEventError)
            outcome = Rejection.of(output) if invalid else report.outcomes[arrival]
            if isinstance(outcome, Written):
                self.written.append((arrival, outcome))
            else:
                self.dead.append((arrival, outcome))

    async def prepend_to_chains(self) -> None:
        """See to it that every run is in its chain, before it is announced as written."""
        pairs = sorted({pair for _, written in self.written for pair in written.chains})
        if not pairs:
            return
        refused = await in_thread(app.database, lambda: app.chain_keeper.ensure(pairs))
        for arrival, written in self.written:
            if rejection := next(
                (refused[pair] for pair in written.chains if pair in refused), None
            ):
                self.dead.append((arrival, rejection))
        self.written = [
            (arrival, written)
            for arrival, written in self.written
            if not any(pair in refused for pair in written.chains)
        ]

    async def set_aside(self) -> None:
        """Send the events that can never be written to the dead letters."""
        for arrival, rejection in self.dead[self.letters_sent :]:
            await send_dead_letter(arrival, rejection)
            self.letters_sent += 1

    async def announce(self) -> None:
        """Announce every valid dataset of the window, whether it was inserted now or before."""
        if not self.written:
            return
        written = [outcome for _, outcome in self.written]
        directory = app.settings.write.dataset_list_directory
        announcement = await write_dataset_list(directory or "", self.batch_id, written)
        await send(topics.batches_ingested, value=announcement.encode())
        for update in chain_updates_of(self.batch_id, written):
            await send(topics.chain_updates, key=update.chain.encode(), value=update.dumps())

    def _is_current(self) -> bool:
        return app.intake.is_current(self.window)

    @property
    def batch_id(self) -> UUID:
        """The batch's identity: the same events give the same one."""
        return batch_id_of(arrival.entry for arrival in self.window.arrivals)

    def _report(self, acked: int, seconds: float) -> None:
        report = self.report or WriteReport({})
        facts = {
            "batch_id": str(self.batch_id),
            "events": len(self.window.arrivals),
            "datasets": sum(len(written.dataset_ids) for _, written in self.written),
            "inserted": report.inserted,
            "already_there": report.already_there,
            "dead_letters": len(self.dead),
            "acked": acked,
            "bytes": self.window.bytes,
            "seconds": round(seconds, 3),
        }
        app.status.flushed(**facts)
        logger.info("window flushed", **facts)
        metrics.WINDOWS.inc()
        metrics.EVENTS.labels("written").inc(len(self.written))
        metrics.EVENTS.labels("dead").inc(len(self.dead))
        metrics.DATASETS.labels("inserted").inc(report.inserted)
        metrics.DATASETS.labels("already_there").inc(report.already_there)
        metrics.MISMATCHED_RECORDS.inc(report.mismatched_records)
