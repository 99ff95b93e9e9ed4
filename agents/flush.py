"""Flush, the sink: each window becomes one Butler write, is announced, and only then is acked.

Every step is idempotent and is retried for as long as it takes, or until the window's partitions
are revoked: then the window is abandoned, and its events are delivered again, here or elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import structlog
from aiokafka.errors import MessageSizeTooLargeError
from faust.exceptions import ProducerSendError
from faust.types import StreamT, TopicT
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from app import app, metrics, topics
from app.announcement import batch_id_of, chain_updates_of, write_dataset_list
from app.butler.failures import AbandonedError, RetryableError
from app.butler.outcome import Rejection, WriteReport, Written
from app.butler.writer import ReadWindow
from app.received import Received
from app.windows import Arrival, Window
from models import DeadLetter, InvalidEventError, PromptOutput

T = TypeVar("T")

logger = structlog.get_logger("butler_writer")

#: First wait between two tries of a step, in seconds (doubled each time, with jitter).
FIRST_WAIT = 0.2


@app.agent(app.closed_windows)
async def flush(windows: StreamT[Window[Received]]) -> None:
    """Write each closed window into the Butler, announce it, and ack its events.

    Windows are written one after another, in the order of their closing; while one is, the next is
    read.  What the channel brings says that a window waits; it may have been joined to another.
    """
    async with asyncio.TaskGroup() as tasks:  # an exception in one leaves the agent (rule 5)
        under_way: asyncio.Task[None] | None = None
        async for _ in windows:
            if (window := app.intake.take()) is None:
                continue
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
    events : `~collections.abc.Sequence`
        What its events say.
    written : `list`
        The events that are in the Butler, each with what was written of it.
    dead : `list`
        The events that never can be, each with the reason.
    """

    window: Window[Received]
    events: ReadWindow = ()
    written: list[tuple[Arrival[Received], Written]] = field(default_factory=list)
    dead: list[tuple[Arrival[Received], Rejection]] = field(default_factory=list)
    letters_sent: int = 0
    report: WriteReport | None = None
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
        outputs = [
            arrival.payload.output
            for arrival in self.window.arrivals
            if isinstance(arrival.payload.output, PromptOutput)
        ]
        self.events = await in_thread(
            app.reader, lambda: app.writer.read(outputs, wanted=self._is_wanted)
        )

    async def write(self) -> None:
        """Write the window's events, in the Butler's own thread, in one transaction."""
        self.report = report = await in_thread(
            app.database, lambda: app.writer.commit(self.events, wanted=self._is_wanted)
        )
        outcomes = iter(report.outcomes)
        self.written, self.dead = [], []
        for arrival in self.window.arrivals:
            output = arrival.payload.output
            invalid = isinstance(output, InvalidEventError)
            outcome = Rejection.of(output) if invalid else next(outcomes)
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

    def _is_wanted(self) -> bool:
        return app.intake.is_current(self.window)

    @property
    def batch_id(self) -> UUID:
        """The batch's identity: the same events give the same one."""
        return batch_id_of(arrival.entry for arrival in self.window.arrivals)

    def _report(self, acked: int, seconds: float) -> None:
        report = self.report or WriteReport([])
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


async def until_done(window: Window[Received], step: Callable[[], Awaitable[None]]) -> None:
    """Try a step until it goes through.

    Raises
    ------
    AbandonedError
        If the window's partitions were revoked.
    """
    name = getattr(step, "__name__", str(step))

    def is_retried(error: BaseException) -> bool:
        return isinstance(error, Exception) and not isinstance(error, AbandonedError)

    def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is None:
            return
        app.status.failed(name, error)
        metrics.RETRIES.labels(name).inc()
        logger.warning(
            "step failed, will be tried again",
            step=name,
            attempt=state.attempt_number,
            wait=round(state.upcoming_sleep, 2),
            error=f"{type(error).__name__}: {error}",
            alarm=getattr(error, "alarm", False),
            exc_info=None if isinstance(error, RetryableError) else error,
        )

    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(is_retried),
            wait=wait_random_exponential(FIRST_WAIT, max=app.settings.write.retry_wait_max),
            before_sleep=note,
            reraise=True,
        ):
            with attempt:
                if not app.intake.is_current(window):
                    raise AbandonedError
                with metrics.FLUSH_SECONDS.labels(name).time():
                    await step()
    finally:
        app.status.over(name)


async def in_thread(thread: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    """Run a call in a thread that has a Butler of its own (rule 9)."""
    return await asyncio.get_running_loop().run_in_executor(thread, call)


async def send(topic: TopicT, **message: Any) -> None:
    """Send a message, and wait until every in-sync replica has it (rule 11)."""
    try:
        await (await topic.send(**message))
    except ProducerSendError as exc:  # Faust's, around the one that says why
        raise exc.__cause__ or exc from None


async def send_dead_letter(arrival: Arrival[Received], rejection: Rejection) -> None:
    """Send one event to the dead letters, and wait until the broker has it."""
    entry = arrival.entry
    value = arrival.payload.value or b""  # a message must have a value or a key
    letter = DeadLetter.of(
        entry.partition,
        entry.offset,
        rejection.error_class,
        rejection.reason,
        arrival.payload.replays,
    )
    try:
        await send(
            topics.dead_letters, key=arrival.payload.key, value=value, headers=letter.headers()
        )
    except MessageSizeTooLargeError:
        pointer = letter.pointer(value)
        await send(topics.dead_letters, value=pointer, headers=letter.headers())
    metrics.DEAD_LETTERS.labels(letter.error_class).inc()
    logger.error(
        "event set aside",
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        error_class=letter.error_class,
        reason=letter.reason,
    )
