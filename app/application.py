"""The Faust application: its configuration, and what it does around a rebalance and a stop.

The rules named here are those of ``docs/durability.md``.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import faust
import structlog
from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport.consumer import Consumer, ThreadDelegateConsumer
from faust.types import TP, AgentT
from mode import Service

from app.intake.intake import Intake
from app.kafka.held_events import HeldEvent
from app.kafka.watchdog import LOOK_INTERVAL, Watchdog, watch
from app.settings import MIB, KafkaSettings, Settings, SettingsError
from app.telemetry.log import logging_config
from app.telemetry.status import Status
from app.worker import Worker

if TYPE_CHECKING:
    from faust.tables.manager import TableManager
    from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

    from app.butler.repository.chains import ChainKeeper
    from app.butler.writer import ButlerWriter
    from app.intake.received import Received
    from app.intake.windows import Window

__all__ = ["ButlerWriterApp"]

logger = structlog.get_logger("butler_writer")

#: Longer than one fetch of Faust's consumer (its getmany waits 1.0 s): a fetch that was under way
#: when the flow stopped has ended after this, and can no longer move the read position.
FETCH_DRAIN_SECONDS = 1.2

#: What Faust's own stop may take after the last flush, in seconds: it waits for brokers, and the
#: interpreter's end for the Butler's thread, for as long as those take.
STOP_SECONDS = 5.0

_REMEDY = "install the service into an environment of its own"

#: An idle or stalled worker that misses Kafka's poll interval leaves the group for good.
ENDLESS_POLL_INTERVAL = 7 * 24 * 3600.0


class ButlerWriterApp(faust.App):
    """The Butler writer.

    Attributes
    ----------
    settings : `Settings`
        What it was configured with.
    intake : `Intake`
        Ledger and windows, shared by the agents collect and flush.
    status : `Status`
        What pages and readiness report.
    reader, database : `~concurrent.futures.ThreadPoolExecutor`
        The thread that reads windows, and the one that writes them, each with a Butler of its own:
        one Butler in two threads breaks.
    """

    writer: ButlerWriter
    chain_keeper: ChainKeeper

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.intake: Intake[Received] = Intake(
            settings.windows.bounds, settings.windows.max_bytes_held
        )
        self.status = Status()
        self.draining = False
        self._watchdog = Watchdog.of(settings.kafka)
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self.database = ThreadPoolExecutor(1, thread_name_prefix="butler")
        super().__init__(settings.kafka.group, **_configuration(settings))
        self.on_partitions_revoked.connect(self._forget)  # type: ignore[arg-type]
        self.on_rebalance_complete.connect(self._place)

    @cached_property
    def room(self) -> asyncio.Event:
        """Set whenever held bytes were let go."""
        return asyncio.Event()

    def discover(self, *extra_modules: str, **kwargs: Any) -> None:
        """Import the agents, ours and no other package's of that name."""
        _refuse_foreign("agents")
        _refuse_foreign("models")
        super().discover(*extra_modules, **kwargs)

    def _on_autodiscovery_error(self, name: str) -> None:
        """Do not start without an agent: Faust would only warn, and run what is left."""
        raise ImportError(f"{name} cannot be imported") from sys.exception()

    async def reread(self) -> None:
        """Read the input again from its committed offsets (rule no-gaps-in-offsets)."""
        try:
            if await self._start_reading() and not self.rebalancing:
                self.consumer.resume_flow()
        except IllegalStateError:
            logger.info("partitions revoked while reading again")  # a rebalance does it by itself

    @property
    def recovered(self) -> dict[TP, int] | None:
        """How far the recovery of the tables has come in each changelog; `None` if none goes on."""
        recovery = cast("TableManager", self.tables).recovery
        going_on = recovery.in_recovery and recovery.need_recovery()
        return dict(recovery.active_offsets) if going_on else None

    async def recover_again(self) -> None:
        """Let the recovery of the tables read again from where it is (rule no-gaps-in-offsets).

        Faust drops what a fetch brings that was under way when partitions were revoked; its
        recovery then waits for these changes for ever.
        """
        recovery = cast("TableManager", self.tables).recovery
        try:
            await recovery._seek_offsets(
                self.consumer, recovery.active_tps, recovery.active_offsets, "active"
            )
        except IllegalStateError:
            logger.info("partitions revoked while recovering again")

    # Faust's own timers start after the first assignment, which may be what a worker waits for.
    @Service.timer(LOOK_INTERVAL)
    async def _watch(self) -> None:
        await watch(self, self._watchdog)

    async def group_error(self) -> str | None:
        """Return what has stopped the worker's membership in its group, and let it try again.

        aiokafka waits with such an error until its user asks for it; Faust never does.
        """
        thread = cast(
            "AIOKafkaConsumerThread", cast("ThreadDelegateConsumer", self.consumer)._thread
        )
        if thread._consumer is None:
            return None
        try:
            await thread.call_thread(thread._consumer._coordinator.check_errors)
        except KafkaError as exc:
            return f"{type(exc).__name__}: {exc}"
        return None

    async def _on_agent_error(self, agent: AgentT[Any], exc: BaseException) -> None:
        """End the process: what an agent held when an exception left it would never be acked.

        Faust would start the agent again (rule no-exception-leaves-an-agent).
        """
        logger.critical(
            "an exception left an agent, ending the worker", agent=agent.name, exc_info=exc
        )
        os._exit(1)

    async def on_stop(self) -> None:
        """Flush what is open before Faust lets go of the partitions (rule orderly-shutdown)."""
        timeout = self.settings.windows.shutdown_timeout
        _end_process_after(timeout + STOP_SECONDS)
        try:
            await asyncio.wait_for(self._drain(), timeout)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the worker must still stop
            logger.warning("stopped before all was written; it is delivered again", error=repr(exc))
        await super().on_stop()
        for thread in (self.reader, self.database):
            thread.shutdown(wait=False, cancel_futures=True)

    async def _drain(self) -> None:
        self.draining = True
        if self._consumer is None or not self.intake.ledger.state():
            return
        self.consumer.stop_flow()
        await self.hand_over(self.intake.close())
        while not self.intake.is_empty:
            self.room.clear()
            await self.room.wait()
        await self.consumer.commit()

    @cached_property
    def closed_windows(self) -> faust.Channel[Any]:
        """Windows on their way to the sink.

        Unbounded, since Faust clears a bounded channel and cancels its putters (rule
        bounded-memory); the bound is on the bytes held.
        """
        return cast("faust.Channel[Any]", self.channel(maxsize=0))

    async def hand_over(self, windows: list[Window[Received]]) -> None:
        """Send closed windows to the sink."""
        for window in windows:
            await self.closed_windows.put(window)  # type: ignore[arg-type]

    async def _forget(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        """Forget what was received so far (rule rebalance-starts-a-new-epoch)."""
        self.status.revoked()
        self.intake.revoke()
        self.room.set()
        logger.info("partitions revoked", partitions=len(revoked), epoch=self.intake.epoch)

    async def _place(self, *_: Any, **__: Any) -> None:
        """Note where the reading starts (rule no-gaps-in-offsets)."""
        if await self._start_reading():
            self.status.assigned()
            starts = {str(p): log["start"] for (_, p), log in self.intake.ledger.state().items()}
            logger.info("partitions assigned", starts=starts)

    async def _start_reading(self) -> bool:
        """Let the fetch under way end, and go to the committed offsets; the flow stays stopped.

        Returns
        -------
        started : `bool`
            Whether the partitions are still ours.
        """
        epoch = self.intake.epoch
        consumer = cast("Consumer", self.consumer)
        consumer.stop_flow()
        await asyncio.sleep(FETCH_DRAIN_SECONDS)
        if self.intake.epoch != epoch:
            return False
        starts = await self._starting_offsets()
        # Faust's own seek leaves a partition without a committed offset wherever it is.
        await consumer.seek_wait(starts)
        if self.intake.epoch != epoch:
            return False
        for tp in starts:
            # What Faust took for a gap is read now: left here, it would be committed unread.
            consumer._gap.pop(tp, None)
        self.intake.place({(tp.topic, tp.partition): offset for tp, offset in starts.items()})
        return True

    async def _starting_offsets(self) -> dict[TP, int]:
        consumer = cast("Consumer", self.consumer)
        partitions = [tp for tp in consumer.assignment() if tp.topic == self.settings.kafka.topic]
        if not partitions:
            return {}
        committed = await consumer.seek_to_committed()
        fresh = [tp for tp in partitions if (committed.get(tp) or -1) < 0]
        earliest = await consumer.earliest_offsets(*fresh) if fresh else {}
        return {tp: earliest[tp] if tp in earliest else committed[tp] for tp in partitions}


def _configuration(settings: Settings) -> dict[str, Any]:
    kafka = settings.kafka
    security: dict[str, Any] = {}
    context = _tls_context(kafka) if kafka.tls else None
    if kafka.username is not None and kafka.password is not None:
        security["broker_credentials"] = faust.SASLCredentials(
            username=kafka.username,
            password=kafka.password.get_secret_value(),
            mechanism="SCRAM-SHA-512",
            ssl_context=context,
        )
    elif context is not None:
        security["broker_credentials"] = faust.SSLCredentials(context=context)
    return security | {
        "version": 1,  # a higher one would change every internal topic's name
        "broker": [f"kafka://{broker}" for broker in kafka.brokers] or "kafka://",
        "autodiscover": ["agents", "app.commands", "app.tables", "app.web"],
        "origin": "app",
        "store": "memory://",
        "datadir": settings.service.data_directory,
        "Event": HeldEvent,
        "Worker": Worker,
        "logging_config": logging_config(settings),
        "consumer_auto_offset_reset": "earliest",
        "topic_disable_leader": True,
        "topic_allow_declare": False,  # app.topics creates and checks the topics
        "table_standby_replicas": 0,
        "stream_publish_on_commit": False,
        # Unacked events are open windows (rule rebalance-starts-a-new-epoch).
        "stream_wait_empty": False,
        # Faust's own queues are part of the memory bound (rule bounded-memory).
        "stream_buffer_maxsize": 64,
        "broker_max_poll_records": 64,
        # Partitions that are added to the input are read that much later, at most.
        "consumer_metadata_max_age_ms": 30_000,
        "consumer_max_fetch_size": kafka.max_message_bytes + MIB,
        "producer_max_request_size": kafka.max_message_bytes + MIB,
        "producer_acks": -1,
        "producer_request_timeout": 20.0,  # the default, 1200 s, also blocks rebalances
        "broker_commit_interval": kafka.commit_interval,
        "broker_session_timeout": kafka.session_timeout,
        "broker_heartbeat_interval": kafka.session_timeout / 10,
        "broker_request_timeout": max(40.0, kafka.session_timeout + 10),
        "broker_rebalance_timeout": kafka.rebalance_timeout,
        "broker_max_poll_interval": ENDLESS_POLL_INTERVAL,
        # Longer than any flush may take while a dependency is away.
        "stream_processing_timeout": ENDLESS_POLL_INTERVAL,
        "broker_commit_livelock_soft_timeout": ENDLESS_POLL_INTERVAL,
    }


def _tls_context(kafka: KafkaSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=kafka.ca_file)
    except OSError as exc:
        raise SettingsError(f"BUTLER_WRITER_KAFKA_CA_FILE='{kafka.ca_file}': {exc}") from exc


def _end_process_after(seconds: float) -> None:
    def end() -> None:
        logger.critical("the stop takes too long, ending the worker")
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _refuse_foreign(package: str) -> None:
    """End the process if a package of a name that others have, too, is not wholly ours."""
    spec = importlib.util.find_spec(package)
    found = Path(spec.origin).parent.parent if spec is not None and spec.origin else None
    ours = Path(__file__).parent.parent
    if found != ours:
        sys.exit(
            f"butler-writer: the package {package!r} is not this service's but comes from {found}; "
            f"{_REMEDY}"
        )
    if others := set(packages_distributions().get(package, ())) - {"butler-writer"}:
        sys.exit(
            f"butler-writer: the package {package!r} is also installed by "
            f"{', '.join(sorted(others))}; {_REMEDY}"
        )
