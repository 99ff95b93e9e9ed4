"""The service as this worker sees it: each answer is found out once in two seconds at most."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import TypeAdapter

from app.butler.descriptions import describe_with_type
from app.kafka.group.members import Group, Member
from app.kafka.group.observer import GroupLook, GroupObserver
from app.operations.pages.activity import SHOWN_SECONDS, ActivityDocument, combined
from app.operations.pages.asking import NoAnswer, ask_pages
from app.operations.pages.cached import Cached
from app.operations.pages.chains import (
    ChainDocument,
    ChainsDocument,
    combined_chains,
    own_chains,
)
from app.operations.pages.documents import (
    OverviewDocument,
    PartitionDocument,
    WindowDocument,
    WindowsDocument,
    WorkerDocument,
    WorkerFlush,
    WorkersDocument,
    WorkerState,
)
from app.operations.pages.own_state import own_pages, own_state
from app.operations.pages.verdict import judge
from app.telemetry.recent.activity import Interval, Totals, percentile
from app.telemetry.recent.flushes import FlushDetail, RecentFlush

if TYPE_CHECKING:
    from app.application import ButlerWriterApp

__all__ = ["ServiceView"]

_STATE = TypeAdapter(WorkerState)
_FLUSHES = TypeAdapter(list[RecentFlush])
_DETAIL = TypeAdapter(FlushDetail | None)
_INTERVALS = TypeAdapter(list[Interval])
_CHAINS = TypeAdapter(list[ChainDocument])


class ServiceView:
    """What the pages show of all workers.

    Parameters
    ----------
    app : `ButlerWriterApp`
        This worker.
    """

    def __init__(self, app: ButlerWriterApp) -> None:
        self._app = app
        self._observer = GroupObserver(app.connection, app.settings.kafka)
        self._last_group: Group | None = None
        self._overview = Cached(self._find_overview)
        self._windows = Cached(self._find_windows)
        self._activity = Cached(self._find_activity)
        self._chains = Cached(self._find_chains)

    async def close(self) -> None:
        """Close the connections to the brokers."""
        await self._observer.close()

    async def overview(self) -> OverviewDocument:
        """Return the whole service."""
        return await self._overview.get()

    async def workers(self) -> WorkersDocument:
        """Return all workers."""
        found = await self.overview()
        return WorkersDocument(
            at=found.at,
            group=found.group,
            group_state=found.group_state,
            no_answer=found.no_answer,
            workers=found.workers,
        )

    async def windows(self) -> WindowsDocument:
        """Return the last flushes of all workers."""
        return await self._windows.get()

    async def activity(self) -> ActivityDocument:
        """Return what all workers have finished in the last half hour."""
        return await self._activity.get()

    async def chains(self) -> ChainsDocument:
        """Return all chains of the table, which one of the workers keeps."""
        return await self._chains.get()

    async def window(self, batch_id: str) -> WindowDocument | None:
        """Return the last flush of a batch, if a worker still has it."""
        own = self._app.status.recent.detail(batch_id)
        if own is not None:
            return _window(own_pages(self._app), own)
        others = [name for name in await self._names() if name != own_pages(self._app)]
        answers = await ask_pages(others, f"/state/windows/{quote(batch_id, safe='')}", _DETAIL)
        found = [
            _window(name, detail)
            for name, detail in answers.items()
            if isinstance(detail, FlushDetail)
        ]
        return max(found, key=lambda each: each.flush.started_at, default=None)

    async def _names(self) -> list[str]:
        found = await self.overview()
        return [worker.pages for worker in found.workers if worker.pages is not None]

    async def _find_windows(self) -> WindowsDocument:
        own = own_pages(self._app)
        others = [name for name in await self._names() if name != own]
        answers = await ask_pages(others, "/state/windows", _FLUSHES)
        answers[own] = self._app.status.recent.newest_first()
        flushes = [
            _of_worker(name, flush)
            for name, answer in answers.items()
            if not isinstance(answer, NoAnswer)
            for flush in answer
        ]
        return WindowsDocument(
            at=time.time(),
            not_answering=sorted(n for n, each in answers.items() if isinstance(each, NoAnswer)),
            flushes=sorted(flushes, key=lambda flush: flush.started_at, reverse=True),
        )

    async def _find_chains(self) -> ChainsDocument:
        own = own_pages(self._app)
        others = [name for name in await self._names() if name != own]
        answers = await ask_pages(others, "/state/chains", _CHAINS)
        return combined_chains({**answers, own: own_chains()})

    async def _find_activity(self) -> ActivityDocument:
        own, now = own_pages(self._app), time.time()
        others = [name for name in await self._names() if name != own]
        answers = await ask_pages(others, "/state/activity", _INTERVALS)
        answers[own] = self._app.status.activity.since(now - SHOWN_SECONDS)
        return combined(now, (each for each in answers.values() if not isinstance(each, NoAnswer)))

    async def _find_overview(self) -> OverviewDocument:
        look, no_answer = await self._look()
        workers = await self._ask_workers(self._last_group)
        partitions = self._partitions(look, workers)
        return self._summary(workers, partitions, no_answer)

    async def _look(self) -> tuple[GroupLook | None, str | None]:
        try:
            look = await self._observer.look()
        except TimeoutError:
            return None, "Kafka has not answered within 3 s."
        except Exception as exc:  # noqa: BLE001 - the page says so, whatever it is
            return None, f"Kafka cannot be asked: {describe_with_type(exc)}."
        self._last_group = look.group
        return look, None

    async def _ask_workers(self, group: Group | None) -> list[WorkerDocument]:
        """Ask all members, and this worker if it is not in the group (yet)."""
        topic, own = self._app.settings.kafka.topic, own_pages(self._app)
        hosts: dict[str | None, str] = {}
        read: dict[str | None, set[int]] = {}
        for member in self._members(group):
            # A worker that was killed and has started again is a member twice.
            hosts[member.pages] = member.host
            read.setdefault(member.pages, set()).update(member.partitions.get(topic, ()))
        is_member = set(hosts)
        hosts.setdefault(own, "")
        others = [name for name in hosts if name is not None and name != own]
        answers = await ask_pages(others, "/state", _STATE)
        answers[own] = _STATE.validate_python(own_state(self._app))
        found = []
        for name, host in hosts.items():
            answer = NoAnswer("It names no pages.") if name is None else answers[name]
            found.append(
                WorkerDocument(
                    pages=name,
                    host=host,
                    is_member=name in is_member,
                    partitions=sorted(read.get(name, ())),
                    no_answer=str(answer) if isinstance(answer, NoAnswer) else None,
                    state=None if isinstance(answer, NoAnswer) else answer,
                )
            )
        return sorted(found, key=lambda each: each.name)

    def _members(self, group: Group | None) -> list[Member]:
        """Return the members of the group, or those of the last assignment that Faust knows.

        Kafka names neither pages nor partitions while the group is rebalanced, and the embedded
        broker never does.
        """
        if group is None or group.is_foreign or group.names_workers:
            return [] if group is None else group.members
        assigned = self._app.router.external_topics_metadata()
        return [
            Member(client="", host="", pages=pages.rstrip("/"), partitions=dict(partitions))
            for pages, partitions in assigned.items()
        ]

    def _partitions(
        self, look: GroupLook | None, workers: Iterable[WorkerDocument]
    ) -> list[PartitionDocument]:
        topic = self._app.settings.kafka.topic
        owners = {number: each for each in workers for number in each.partitions}
        return [
            PartitionDocument(
                partition=number,
                owner=owner.name if (owner := owners.get(number)) else None,
                committed=None if look is None else look.committed.get(number),
                end=None if look is None else look.ends[number],
                lag=None if look is None else look.lag(number),
                oldest_pending=owner.state.oldest_pending.get(f"{topic}-{number}")
                if owner and owner.state
                else None,
            )
            for number in sorted(owners if look is None else look.ends)
        ]

    def _summary(
        self,
        workers: list[WorkerDocument],
        partitions: list[PartitionDocument],
        no_answer: str | None,
    ) -> OverviewDocument:
        at, group = time.time(), self._last_group
        states = [each.state for each in workers if each.state is not None]
        minutes = [state.last_minute for state in states]
        latencies: Counter[int] = Counter()
        for minute in minutes:
            latencies.update(minute.latencies)
        state, reasons = judge(
            at=at,
            group=group,
            no_answer=no_answer,
            workers=workers,
            partitions=partitions,
            finished=sum(minute.events for minute in minutes),
        )
        pending = [each.oldest_pending for each in partitions if each.oldest_pending is not None]
        return OverviewDocument(
            at=at,
            state=state,
            reasons=reasons,
            topic=self._app.settings.kafka.topic,
            group=self._app.settings.kafka.group,
            group_state="unknown" if group is None or no_answer else group.state,
            no_answer=no_answer,
            events_per_second=sum(each.events / each.seconds for each in minutes),
            datasets_per_second=sum(each.datasets / each.seconds for each in minutes),
            latency_p50=percentile(latencies, 0.5),
            latency_p99=percentile(latencies, 0.99),
            lag=None if no_answer else sum(each.lag or 0 for each in partitions),
            oldest_pending=min(pending, default=None),
            bytes_held=sum(each.bytes_held for each in states),
            max_bytes_held=sum(each.max_bytes_held for each in states),
            open_window_events=sum(s.open_window.events for s in states if s.open_window),
            events_in_windows=sum(each.events_in_windows for each in states),
            windows_in_flight=sum(each.windows_in_flight for each in states),
            postponed_events=sum(each.postponed_events for each in states),
            dead_letters_last_hour=sum(each.dead_letters_last_hour for each in states),
            totals=_added(state.totals for state in states),
            partitions=partitions,
            workers=workers,
        )


def _added(totals: Iterable[Totals]) -> Totals:
    result = Totals()
    for each in totals:
        for name in Totals.__slots__:
            setattr(result, name, getattr(result, name) + getattr(each, name))
    return result


def _of_worker(worker: str, flush: RecentFlush) -> WorkerFlush:
    fields = {name: getattr(flush, name) for name in RecentFlush.__slots__}
    return WorkerFlush(worker=worker, **fields)


def _window(worker: str, detail: FlushDetail) -> WindowDocument:
    return WindowDocument(flush=_of_worker(worker, detail.flush), events=detail.events)
