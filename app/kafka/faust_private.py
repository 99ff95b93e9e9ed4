"""Uses of private names of Faust and aiokafka; `app.kafka.private` has the others.

A test reports which private name, or overridden hook, a new release has changed.  Their behaviour
was measured with faust-streaming 0.15.3 or read in its source.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import faust
import structlog
from aiokafka.client import ConnectionGroup
from faust.cli.worker import worker as worker_command
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, AgentT
from faust.web.base import Web

from app.intake.evidence import ReadEvidence
from app.intake.fetches import Fetches
from app.intake.suspects import ReadMessage, Suspects
from app.kafka.errors import KafkaError
from app.kafka.private.commands import AppWithPromptCommands
from app.kafka.private.consumer_thread import TolerantConsumer, TolerantConsumerThread
from app.kafka.private.fetch_limit import FetchLimit
from app.kafka.private.fetched_records import use_own_records
from app.kafka.private.web_server import pages_server
from app.telemetry import metrics

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer
    from faust.transport.consumer import Consumer

__all__ = [
    "StrictApp",
    "commit_offsets",
    "forget_gap",
    "has_consumer",
    "lacks_leader",
    "membership_error",
    "number_of_partitions",
    "own_commits",
    "restart_partitions",
    "silence_banner",
    "stable_and_end",
]

logger = structlog.get_logger("butler_writer")


class _ConsumerThread(TolerantConsumerThread):
    """Reads committed transactions only, within limits; notes what it fetches and commits.

    Attributes
    ----------
    last_seen : `dict`
        aiokafka's state of each partition, and the future that stands for its position.
    committed : `dict`
        The last offset of each partition that was committed, also before a rebalance.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.last_seen: dict[TP, tuple[object, object]] = {}
        self.committed: dict[TP, int] = {}

    async def on_start(self) -> None:
        """Start the consumer, and limit what it fetches (rule bounded-memory)."""
        use_own_records()
        await super().on_start()
        cast("StrictApp", self.app).fetch_limit.apply(self._ensure_consumer())

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets and remember them; Faust's monitor forgets them at a rebalance."""
        is_done = await super().commit(offsets)
        if is_done:
            self.committed.update(offsets)
            metrics.COMMITS.inc()
        return is_done

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        """Create the consumer (rule read-committed)."""
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> Any:
        """Fetch messages, and note from where to where the position moved by it."""
        if not self.consumer.flow_active:
            return {}
        app = cast("StrictApp", self.app)
        before = {}
        for tp in active_partitions:
            if tp.topic == app.input_topic and (state := _state(consumer, tp)) is not None:
                before[tp] = (state, state._position)
        fetch = partial(super()._fetch_records, consumer)
        records = await app.fetch_limit.take_over(
            fetch, active_partitions, timeout or 0, max_records or 1
        )
        for tp, (state, start) in before.items():
            partition = (tp.topic, tp.partition)
            if (connection := _connection(consumer, tp)) is not None:
                app.suspects.connected(partition, connection)
            if found := records.get(tp):
                app.suspects.read(partition, ReadMessage.of(found[-1]))
            # aiokafka replaces this future when the brokers refuse the position.
            seen = (state, state._position_fut)
            last, self.last_seen[tp] = self.last_seen.get(tp, seen), seen
            if last[0] is state and last[1] is not state._position_fut:
                app.fetches.note_reset(partition)
            elif start is not None and state._position is not None:
                offsets = [record.offset for record in records.get(tp, ())]
                app.fetches.note(partition, start, offsets, state._position)
        return records


class _Consumer(TolerantConsumer):
    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer = _Consumer


class StrictApp(AppWithPromptCommands):
    """A Faust application that ends if an agent cannot be imported or raises an exception.

    Attributes
    ----------
    input_topic : `str`
        The topic whose fetches are noted.
    fetches : `Fetches`
        What was fetched of it.
    suspects : `Suspects`
        Its partitions whose connection has changed.
    evidence : `ReadEvidence`
        What was read last before each offset that may be committed.
    fetch_limit : `FetchLimit`
        Limits what is fetched of it ahead.
    """

    input_topic: str
    fetches: Fetches
    suspects: Suspects
    evidence: ReadEvidence
    fetch_limit: FetchLimit

    def _new_transport(self) -> driver.Transport:
        """Return a transport whose consumer notes what it fetches."""
        return _Transport(self.conf.broker_consumer, self)

    def _new_web(self) -> Web:
        return pages_server(self)

    def _on_autodiscovery_error(self, name: str) -> None:
        """Refuse to start without an agent; Faust would only warn and run the others."""
        raise ImportError(f"{name} cannot be imported") from sys.exception()

    async def _on_agent_error(self, agent: AgentT[Any], exc: BaseException) -> None:
        """End the process, because the events that the agent held would never be acked.

        Faust would only restart the agent (rule no-exception-leaves-an-agent).
        """
        logger.critical(
            "an exception left an agent, ending the worker", agent=agent.name, exc_info=exc
        )
        os._exit(1)


def silence_banner() -> None:
    """Keep ``faust worker`` from printing its banner, which is no JSON line, on standard output."""
    worker_command.on_worker_created = lambda *_: None  # type: ignore[method-assign]


def has_consumer(app: faust.App) -> bool:
    """Return whether the application has a consumer; accessing it would create one."""
    return app._consumer is not None


def forget_gap(consumer: Consumer, partition: TP) -> None:
    """Discard the gap that Faust has noted in a partition; Faust would commit it unread."""
    consumer._gap.pop(partition, None)


async def restart_partitions(app: faust.App, starts: Mapping[TP, int]) -> None:
    """Make Faust forget what was acked and committed in partitions whose log was reset.

    Faust ignores an ack below the committed offset, and would commit offsets of the former log.
    The new offsets are committed at once: a worker that starts after this one reads from them, too.

    Parameters
    ----------
    app : `faust.App`
        Has the consumer.
    starts : `~collections.abc.Mapping`
        The offset at which each partition starts anew.
    """
    consumer = cast("Consumer", app.consumer)
    await consumer.maybe_wait_for_commit_to_finish()
    for tp in starts:
        for bookkeeping in (consumer._acked, consumer._acked_index, consumer._gap):
            bookkeeping.pop(tp, None)
        _thread(app).last_seen.pop(tp, None)
    await commit_offsets(app, starts)


async def commit_offsets(app: faust.App, offsets: Mapping[TP, int]) -> None:
    """Commit offsets of assigned partitions, which may be below those committed before."""
    consumer = cast("Consumer", app.consumer)
    await consumer.maybe_wait_for_commit_to_finish()
    consumer._committed_offset.update({tp: offset or None for tp, offset in offsets.items()})
    if await _thread(app).commit(offsets):
        app.monitor.on_tp_commit(dict(offsets))


def own_commits(app: faust.App) -> Mapping[TP, int]:
    """Return the offset of each partition that this worker has committed last."""
    return _thread(app).committed


def stable_and_end(app: faust.App, partition: TP) -> tuple[int, int] | None:
    """Return the last stable offset of a partition, and its end, as of the last fetch.

    Returns
    -------
    offsets : `tuple` [`int`, `int`] or `None`
        `None` if they are not known.
    """
    consumer = _thread(app)._consumer
    state = None if consumer is None else _state(consumer, partition)
    if state is None or state.lso is None or state.lso < 0 or state.highwater is None:
        return None
    return state.lso, state.highwater


def number_of_partitions(app: faust.App, topic: str) -> int:
    """Return how many partitions a topic has, as far as the consumer knows."""
    consumer = _thread(app)._consumer if has_consumer(app) else None
    return 0 if consumer is None else len(consumer.partitions_for_topic(topic) or ())


def lacks_leader(app: faust.App) -> bool:
    """Return whether the consumer has no connection to the leader of one of its partitions."""
    consumer = _thread(app)._consumer if has_consumer(app) else None
    return consumer is not None and any(
        _connection(consumer, TP(*tp)) is None for tp in consumer.assignment()
    )


async def membership_error(app: faust.App) -> KafkaError | None:
    """Return the error that has ended the membership in the consumer group, and clear it.

    aiokafka keeps such an error until its user checks for errors, which Faust never does.  It sends
    no heartbeats after some errors, and has to be asked to join again.
    """
    thread = _thread(app)
    if thread._consumer is None:
        return None
    coordinator = thread._consumer._coordinator

    async def check_errors() -> None:
        try:
            coordinator.check_errors()
        except KafkaError:
            coordinator.request_rejoin()
            raise

    try:
        await thread.call_thread(check_errors)
    except KafkaError as exc:
        return exc
    return None


def _thread(app: faust.App) -> _ConsumerThread:
    return cast("_ConsumerThread", cast("_Consumer", app.consumer)._thread)


def _state(consumer: AIOKafkaConsumer, partition: TP) -> Any:
    """Return aiokafka's state of a partition, or `None` if it is not assigned."""
    subscription = consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    return None if assignment is None else assignment.state_value(partition)


def _connection(consumer: AIOKafkaConsumer, partition: TP) -> Any:
    """Return the connection to a partition's leader, or `None` if there is none."""
    leader = consumer._client.cluster.leader_for_partition(partition)
    return consumer._client._conns.get((leader, ConnectionGroup.DEFAULT))
