"""The product log: its share of a window's time, from the close to the acknowledgement.

The figure is the largest share of windows of several events.  The same worker's code flushes
windows with the log and without it, in turn, into one repository, with an Apache Kafka that takes
the messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

from agents.window_flush import WindowFlush
from app.announce.product_log import ProductLog
from app.butler.private.registry import engine_of
from app.butler.repository.chains import ChainKeeper
from app.butler.sessions.look import DatabaseLook
from app.butler.writer import ButlerWriter
from app.intake.received import Received
from app.intake.windows import WindowBounds
from app.kafka.connection import KafkaConnection
from app.kafka.producer import open_producer
from app.kafka.sending import OutputTopic, ProducerSender
from app.parts import Lane, Parts, new_intake
from app.settings import MIB
from app.telemetry.flush_reports import FlushReports
from app.telemetry.labels import Step
from app.telemetry.status import Status
from bench.comparisons.write_path import worker_collector
from bench.measuring import spread, stopwatch
from bench.repositories import MOST_DATASETS, POLICY, Repositories, Repository
from bench.result import Result, Table
from bench.workload import Workload
from testbed.kafka import ApacheKafka

__all__ = ["run"]

_WITH, _WITHOUT = "with the log", "without it"

#: A worker's default.
_LARGEST = 10 * MIB

_PARTITION = ("events", 0)
_PRODUCTS = "products"

#: Windows that are flushed first, unmeasured, one with each number of events.
_WARM_UP = 2


@dataclass(frozen=True)
class _Kind:
    """A kind of window.

    Attributes
    ----------
    name : `str`
        Its name in the table.
    events : `int`
        Number of events.
    rounds : `int`
        How many windows are flushed in each way.
    is_known : `bool`
        Whether other windows have had events of the same visit.
    """

    name: str
    events: int
    rounds: int
    is_known: bool = False


_KINDS = (
    _Kind("1 event of a known visit", 1, 40, is_known=True),
    _Kind("1 event of a new visit", 1, 40),
    _Kind("50 events of a visit", 50, 30),
    _Kind("189 events: a visit", 189, 8),
)


@dataclass(frozen=True)
class _Flush:
    """The flush of a window.

    Attributes
    ----------
    wall, cpu : `float`
        Milliseconds, and those of processor time of the process.
    tail : `float`
        Milliseconds in which the log was sent and nothing else was left to do.
    """

    wall: float
    cpu: float
    tail: float


@dataclass
class _Flushes:
    """Windows that are flushed one after another."""

    parts: Parts
    status: Status
    workload: Workload
    _offsets: count[int] = field(default_factory=count)
    _visits: count[int] = field(default_factory=lambda: count(2))
    _known: list[bytes] = field(default_factory=list)

    async def flush(self, kind: _Kind, *, is_logged: bool) -> _Flush:
        """Flush a window."""
        events = self._events(kind)
        intake = self.parts.intake
        for event in events:
            _, entry = intake.receive(_PARTITION, next(self._offsets), len(event), lambda: None)
            assert entry is not None
            intake.add(entry, Received(None, event), now=0.0)
        (window,) = intake.close()
        self.parts.product_log.is_on = is_logged
        flush = WindowFlush(window, self.parts, self.parts.lanes[0])
        with stopwatch() as watch:
            assert await flush.run()
        steps = self.status.recent.newest_first()[0].step_seconds
        *_, last = steps  # in the order in which they ended
        tail = steps[last] if last == Step.LOG_PRODUCTS else 0.0
        return _Flush(1000 * watch.seconds, 1000 * watch.cpu, 1000 * tail)

    def _events(self, kind: _Kind) -> list[bytes]:
        if not kind.is_known:
            return self.workload.events(next(self._visits), kind.events)
        if not self._known:
            self._known = self.workload.events(1, 189)
        return [self._known.pop() for _ in range(kind.events)]


def run(*, quick: bool) -> Result:
    """Compare the flushes of windows with and without the product log."""
    result = Result("product_log")
    with Repositories() as repositories, ApacheKafka() as kafka:
        kafka.create_topic(_PRODUCTS, 6, max_message_bytes=_LARGEST + MIB, compression_type="zstd")
        for topic in ("announcements", "chain_updates"):
            kafka.create_topic(topic)
        with repositories.copy() as repository, worker_collector():
            asyncio.run(_compare(repositories, repository, kafka, result, quick=quick))
    return result


async def _compare(
    repositories: Repositories,
    repository: Repository,
    kafka: ApacheKafka,
    result: Result,
    *,
    quick: bool,
) -> None:
    columns = ["window of", f"{_WITH} (ms)", f"{_WITHOUT} (ms)", "share of the log"]
    table = Table([*columns, "share after the announcement", "CPU with (ms)", "without (ms)"])
    workload = repositories.workload(MOST_DATASETS)
    async with _flushes(repository, workload, kafka, repositories.root.parent) as flushes:
        for kind in _KINDS:
            for _ in range(_WARM_UP):
                await flushes.flush(kind, is_logged=True)
            found: dict[str, list[_Flush]] = {_WITH: [], _WITHOUT: []}
            for number in range(kind.rounds // (2 if quick else 1)):
                for name in list(found)[:: -1 if number % 2 else 1]:
                    found[name].append(await flushes.flush(kind, is_logged=name == _WITH))
            wall = {name: [each.wall for each in of] for name, of in found.items()}
            share = 1 - median(wall[_WITHOUT]) / median(wall[_WITH])
            tail = median(each.tail / each.wall for each in found[_WITH])
            table.add(
                kind.name,
                *(spread(of) for of in wall.values()),
                f"{share:.3f}",
                f"{tail:.3f}",
                *(f"{median(each.cpu for each in of):.0f}" for of in found.values()),
            )
            result.raw[kind.name] = {
                name: [asdict(each) for each in of] for name, of in found.items()
            }
            name = "product_log_share" + ("_window_of_one" if kind.events == 1 else "")
            result.figures[name] = max(share, result.figures.get(name, 0.0))
    result.tables.append(table)


@asynccontextmanager
async def _flushes(
    repository: Repository, workload: Workload, kafka: ApacheKafka, folder: Path
) -> AsyncIterator[_Flushes]:
    connection = KafkaConnection("bench", (kafka.bootstrap,), "bench")
    status = Status()
    with repository.butler() as butler:
        lane = Lane(
            writer=ButlerWriter(butler, POLICY),
            chain_keeper=ChainKeeper(butler),
            reports=FlushReports(status, 0),
        )
        async with (
            open_producer(connection, _PRODUCTS, _LARGEST + MIB) as products,
            open_producer(connection, "announcements", _LARGEST) as announcements,
            open_producer(connection, "chain_updates", _LARGEST) as chain_updates,
        ):
            parts = Parts(
                intake=new_intake(WindowBounds(1.0, 500, 10**9), 10**9),
                lanes=[lane],
                sender=ProducerSender(
                    {
                        OutputTopic.PRODUCTS: products,
                        OutputTopic.BATCHES_INGESTED: announcements,
                        OutputTopic.CHAIN_UPDATES: chain_updates,
                    }
                ),
                product_log=ProductLog(_LARGEST),
                database_look=DatabaseLook(engine_of(butler)),
                list_directory=str(folder / "lists"),
                max_event_bytes=_LARGEST,
                retry_wait_max=1.0,
            )
            parts.intake.start_at({_PARTITION: 0})
            try:
                yield _Flushes(parts, status, workload)
            finally:
                parts.shut_down()
