"""The Faust application, and what it does at a rebalance and at shutdown.

The rules cited here are in ``docs/durability.md``.
"""

from __future__ import annotations

import asyncio
import os
from functools import cached_property
from typing import Any, cast

import faust
import structlog
from faust.types import TP
from mode import Service

from app.butler.descriptions import describe_with_type
from app.configuration import configuration
from app.errors import exiting_on_operator_errors
from app.installation import find_own
from app.intake.evidence import ReadEvidence
from app.intake.received import Received
from app.intake.starts import Starts
from app.intake.suspects import Suspects
from app.intake.windows import Window
from app.kafka.availability import BrokerProbe
from app.kafka.connection import KafkaConnection
from app.kafka.faust_private import StrictApp, has_consumer, lacks_leader
from app.kafka.open_transactions import OpenTransactions
from app.kafka.positions.careful_reading import CarefulReading
from app.kafka.positions.log_ends import LogEnds
from app.kafka.positions.reading_positions import ReadingPositions
from app.kafka.positions.replaced_logs import ReplacedLogs
from app.kafka.positions.topic_id import TopicId
from app.kafka.private.fetch_limit import FetchLimit
from app.kafka.watchdog import CHECK_INTERVAL, KAFKA, ConsumerWatch, Watchdog
from app.machine import end_process_after, end_unless_called_again
from app.parts import Parts, PartsNotOpenError, new_intake
from app.settings import Settings
from app.startup import PagesFirst, Startup
from app.telemetry.availability import (
    AVAILABILITY_INTERVAL,
    AvailabilityWatch,
    in_daemon_thread,
)
from app.telemetry.labels import Step
from app.telemetry.status import Status
from app.telemetry.step_times import STEP_CHECK_INTERVAL, StepTimes

__all__ = ["ButlerWriterApp"]

logger = structlog.get_logger("butler_writer")

#: Seconds that Faust's own shutdown may take after the last flush.  Faust waits for the brokers,
#: and the interpreter for the threads that use a Butler, without a limit of their own.
STOP_SECONDS = 5.0


class ButlerWriterApp(StrictApp):
    """The Butler writer.

    Parameters
    ----------
    settings : `Settings`
        The settings of the service.

    Attributes
    ----------
    settings : `Settings`
        The settings of the service.
    connection : `KafkaConnection`
        How to connect to the brokers.
    intake : `Intake`
        Ledger and windows, shared by the agents collect and flush.
    status : `Status`
        The status that the pages show.
    startup : `Startup`
        Waits at the start for what the worker depends on.
    positions : `ReadingPositions`
        Moves the consumer to the offsets at which reading starts.
    careful : `CarefulReading`
        Tries events one at a time, if one of them ends its workers.
    log_ends : `LogEnds`
        Looks how far the logs go.
    open_transactions : `OpenTransactions`
        Reports senders that leave a transaction open.
    replaced_logs : `ReplacedLogs`
        Notices a log that was replaced by another one.

    Raises
    ------
    SettingsError
        If a setting cannot be used.
    """

    BootStrategy = PagesFirst

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connection = KafkaConnection.of(settings.kafka)
        self.intake = new_intake(settings.windows.bounds, settings.windows.max_bytes_held)
        self.status = Status(
            step_times=StepTimes(settings.service.step_warning_seconds, settings.step_max_seconds)
        )
        self.startup = Startup(self.status, settings.service.start_wait_seconds)
        self._parts: Parts | None = None
        self.input_topic = settings.kafka.topic
        self.fetches = self.intake.ledger.fetches
        self.fetch_limit = FetchLimit(settings.kafka.topic, self.intake.ahead)
        self.suspects = Suspects()
        starts = Starts(settings.service.starts_before_careful, self.intake.max_events)
        self.evidence = ReadEvidence(starts)
        self._topic_id = TopicId(self.connection, settings.kafka.topic)
        super().__init__(settings.kafka.group, **configuration(settings, self.connection))
        self.positions = ReadingPositions(
            self,
            self.intake,
            self.status,
            self.suspects,
            self.evidence,
            topic_id=self._topic_id,
            connection=self.connection,
            topic=settings.kafka.topic,
        )
        self.careful = CarefulReading(self, self.intake, starts)
        self.log_ends = LogEnds(self, self.intake, settings.kafka.topic)
        self.open_transactions = OpenTransactions(self, self.intake)
        self.replaced_logs = ReplacedLogs(
            self.suspects,
            self.intake,
            self.evidence,
            self._topic_id,
            connection=self.connection,
            topic=settings.kafka.topic,
            largest_event=settings.kafka.max_message_bytes,
        )
        self._consumer_watch = ConsumerWatch(
            self,
            self.intake,
            self.status,
            self.connection,
            Watchdog.of(settings.kafka),
            ends_process=settings.service.watchdog,
        )
        self._broker_probe = BrokerProbe(
            self.connection,
            settings.kafka,
            is_suspect=lambda: self.status.not_ready is not None or lacks_leader(self),
        )
        self._kafka_watch = AvailabilityWatch(KAFKA, self._broker_probe.ask, self.status)
        self._database_watch = AvailabilityWatch(
            "the database",
            lambda: in_daemon_thread(self.parts.database_look.ask),
            self.status,
        )
        self.on_partitions_revoked.connect(self._drop_received)  # type: ignore[arg-type]
        self.on_rebalance_complete.connect(self._start_reading)

    @property
    def parts(self) -> Parts:
        """The parts that a flush is made with; the worker sets them after opening them.

        Raises
        ------
        PartsNotOpenError
            If they are not open yet.
        """
        if self._parts is None:
            raise PartsNotOpenError("the worker has not opened its repository yet")
        return self._parts

    @parts.setter
    def parts(self, parts: Parts) -> None:
        self._parts = parts

    @cached_property
    def room(self) -> asyncio.Event:
        """Set whenever fewer bytes are held, so that ``collect`` may take further events."""
        return asyncio.Event()

    @cached_property
    def window_closed(self) -> faust.Channel[Any]:
        """Wakes the sink for each window that closes; the windows wait in the intake.

        The intake drops them when partitions are revoked.  The channel is unbounded, because Faust
        clears a bounded channel and cancels the tasks that wait to put something into it (rule
        bounded-memory).
        """
        return cast("faust.Channel[Any]", self.channel(maxsize=0))

    async def wake_sink(self, windows: list[Window[Received]]) -> None:
        """Wake the sink for windows that have closed."""
        for _ in windows:
            await self.window_closed.put(True)  # type: ignore[arg-type]

    def discover(self, *extra_modules: str, **kwargs: Any) -> None:
        """Import the agents, from this service's own package."""
        with exiting_on_operator_errors():
            find_own("agents")
        super().discover(*extra_modules, **kwargs)

    @property
    def _is_running(self) -> bool:
        return self.startup.is_done and not self.status.stopping

    # Timers of Faust would start after the first assignment, which may never come.
    @Service.timer(CHECK_INTERVAL)
    async def _watch(self) -> None:
        if self.startup.is_done:
            await self._consumer_watch.check()

    @Service.timer(AVAILABILITY_INTERVAL)
    async def _watch_kafka(self) -> None:
        if self._is_running:
            await self._kafka_watch.check()

    @Service.timer(AVAILABILITY_INTERVAL)
    async def _watch_database(self) -> None:
        if self._is_running:
            await self._database_watch.check()

    # Not in `_watch`, which may wait for the brokers.
    @Service.timer(STEP_CHECK_INTERVAL)
    async def _watch_steps(self) -> None:
        """Log the readiness; end the process if a step hangs, or a login is refused for long.

        An orderly shutdown has a limit of its own.
        """
        self.status.log_readiness()
        hangs = self.status.step_times.check()
        refused = self.status.login_refused_for_long()
        if self.status.stopping or not self.settings.service.watchdog:
            return
        end_unless_called_again(self.settings.step_max_seconds)
        if not (hangs or refused):
            return
        if not self._is_held_by_an_event():
            await self.careful.take_back()
        if hangs is not None:
            logger.critical("a step hangs, ending the worker", reason=hangs)
            os._exit(1)  # the thread that hangs would block an orderly shutdown
        if refused is not None:
            logger.critical("a login is refused, ending the worker", reason=refused)
            os._exit(1)  # an orderly shutdown would wait for what refuses the login

    def _is_held_by_an_event(self) -> bool:
        """Return whether an event may be why a step hangs: nothing that it needs is away."""
        times, longest = self.status.step_times, self.settings.step_max_seconds
        hangs = any(times.seconds(step) > longest for step in (Step.READ, Step.WRITE))
        return hangs and not (self.status.unavailable or self.status.retrying)

    async def _drop_received(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        """Drop what was received so far (rule rebalance-starts-a-new-epoch)."""
        self.status.revoked()
        await self.careful.revoke()
        self.intake.revoke()
        self.room.set()
        logger.info("partitions revoked", partitions=len(revoked), epoch=self.intake.epoch)

    async def _start_reading(self, *_: Any, **__: Any) -> None:
        """Start reading at the committed offsets (rule no-gaps-in-offsets)."""
        if await self.positions.start():
            self.status.assigned()
            state = self.intake.ledger.state()
            starts = {str(number): offsets["start"] for (_, number), offsets in state.items()}
            logger.info("partitions assigned", starts=starts)
            await self.careful.record_starts()

    async def on_stop(self) -> None:
        """Flush the open windows before Faust gives up its partitions (rule orderly-shutdown)."""
        timeout = self.settings.windows.shutdown_timeout
        end_process_after(timeout + STOP_SECONDS)
        try:
            await asyncio.wait_for(self._drain(), timeout)
        except Exception as exc:  # noqa: BLE001 - the worker must stop in any case
            logger.warning(
                "shutdown timed out; unwritten events will be redelivered",
                error=describe_with_type(exc),
            )
        if has_consumer(self):
            await self.careful.take_back()
        await super().on_stop()
        self._broker_probe.close()
        self._topic_id.close()
        if self._parts is not None:
            self._parts.shut_down()

    async def _drain(self) -> None:
        self.status.stopping = True
        if not has_consumer(self) or not self.intake.ledger.state():
            return
        self.consumer.stop_flow()
        await self.wake_sink(self.intake.close())
        while not self.intake.is_empty:
            self.room.clear()
            await self.room.wait()
        await self.consumer.commit()
