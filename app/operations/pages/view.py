"""The service as this worker sees it: each answer is found out once in two seconds at most."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote
from uuid import UUID

from pydantic import TypeAdapter

from app.butler.descriptions import describe_with_type
from app.kafka.group.members import Group, Member
from app.kafka.group.observer import GroupLook, GroupObserver
from app.kafka.group.pending import FirstPending, PendingEvents
from app.operations.pages.activity import SHOWN_SECONDS, ActivityDocument, combined
from app.operations.pages.asking import LONGEST_NAME, NoAnswer, ask_pages
from app.operations.pages.cached import Cached, CachedByKey
from app.operations.pages.chains import (
    ChainDocument,
    ChainsDocument,
    KeptChains,
    combined_chain,
    combined_chains,
    kept_chain,
    kept_chains,
)
from app.operations.pages.documents import (
    OverviewDocument,
    WindowDocument,
    WindowsDocument,
    WorkerDocument,
    WorkerFlush,
    WorkersDocument,
    WorkerState,
)
from app.operations.pages.overview import Standstill, overview, partition_documents, unsaid
from app.operations.pages.own_state import own_pages, own_state
from app.operations.pages.waiting import (
    KeptWaiting,
    WaitingDocument,
    combined_waiting,
    kept_waiting,
)
from app.telemetry.recent.activity import Interval
from app.telemetry.recent.flushes import FlushDetail, RecentFlush

if TYPE_CHECKING:
    from app.application import ButlerWriterApp

__all__ = ["ServiceView"]

T = TypeVar("T")

_STATE = TypeAdapter(WorkerState)
_FLUSHES = TypeAdapter(list[RecentFlush])
_DETAIL = TypeAdapter(FlushDetail | None)
_KEPT_WAITING = TypeAdapter(KeptWaiting)
_INTERVALS = TypeAdapter(list[Interval])
_CHAINS = TypeAdapter(KeptChains)
_CHAIN = TypeAdapter(ChainDocument | None)

#: How many flushes, and how many chains, are kept that were looked at one by one.
_MOST_SINGLE = 8


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
        self._pending = PendingEvents(app.connection, app.settings.kafka)
        self._standstill = Standstill()
        self._last_group: Group | None = None
        self._overview = Cached(self._find_overview)
        self._workers: tuple[OverviewDocument, WorkersDocument] | None = None
        self._windows = Cached(self._find_windows)
        self._activity = Cached(self._find_activity)
        self._chains = Cached(self._find_chains)
        self._waiting = Cached(self._find_waiting)
        self._single_windows = CachedByKey(self._find_window, _MOST_SINGLE)
        self._single_chains = CachedByKey(self._find_chain, _MOST_SINGLE)

    async def close(self) -> None:
        """Close the connections to the brokers."""
        await self._observer.close()

    async def overview(self) -> OverviewDocument:
        """Return the whole service."""
        return await self._overview.get()

    async def workers(self) -> WorkersDocument:
        """Return all workers: a part of the overview."""
        found = await self.overview()
        if self._workers is None or self._workers[0] is not found:
            document = WorkersDocument(
                at=found.at,
                group=found.group,
                group_state=found.group_state,
                no_answer=found.no_answer,
                workers=found.workers,
            )
            self._workers = found, document
        return self._workers[1]

    async def windows(self) -> WindowsDocument:
        """Return the last flushes of all workers."""
        return await self._windows.get()

    async def window(self, batch_id: str) -> WindowDocument | None:
        """Return the last flush of a batch, if a worker still has it."""
        try:
            UUID(batch_id)
        except ValueError:
            return None
        return await self._single_windows.get(batch_id)

    async def activity(self) -> ActivityDocument:
        """Return what all workers have finished in the last half hour."""
        return await self._activity.get()

    async def waiting(self) -> WaitingDocument:
        """Return what waits to be released to the downstream repository."""
        return await self._waiting.get()

    async def chains(self) -> ChainsDocument:
        """Return the chains of the table, which one of the workers keeps."""
        return await self._chains.get()

    async def chain(self, name: str) -> ChainDocument | NoAnswer | None:
        """Return one chain of the table.

        Parameters
        ----------
        name : `str`
            Its name.

        Returns
        -------
        chain : `ChainDocument`, `NoAnswer` or `None`
            `None` if there is none of this name; without the worker that keeps the table, that is
            not known.
        """
        is_too_long = len(name.encode(errors="replace")) > LONGEST_NAME
        return None if is_too_long else await self._single_chains.get(name)

    async def _ask_others(self, path: str, kind: TypeAdapter[T]) -> dict[str, T | NoAnswer]:
        """Ask the same page of the other workers.

        A worker that does not answer the overview is not waited for a second time.
        """
        answers: dict[str, T | NoAnswer] = {}
        asked = []
        for worker in (await self.overview()).workers:
            if worker.pages is None or worker.pages == own_pages(self._app):
                continue
            if worker.no_answer is None:
                asked.append(worker.pages)
            else:
                answers[worker.pages] = NoAnswer(worker.no_answer)
        return answers | await ask_pages(asked, path, kind)

    async def _find_windows(self) -> WindowsDocument:
        answers = await self._ask_others("/state/windows", _FLUSHES)
        answers[own_pages(self._app)] = self._app.status.recent.newest_first()
        flushes = [
            _of_worker(name, flush)
            for name, answer in answers.items()
            if not isinstance(answer, NoAnswer)
            for flush in answer
        ]
        return WindowsDocument(
            at=time.time(),
            not_answering=_not_answering(answers),
            flushes=sorted(flushes, key=lambda flush: flush.started_at, reverse=True),
        )

    async def _find_window(self, batch_id: str) -> WindowDocument | None:
        # Another worker may have flushed it again, after a rebalance.
        answers = await self._ask_others(f"/state/windows/{quote(batch_id, safe='')}", _DETAIL)
        answers[own_pages(self._app)] = self._app.status.recent.detail(batch_id)
        found = [
            _window(name, detail)
            for name, detail in answers.items()
            if isinstance(detail, FlushDetail)
        ]
        return max(found, key=lambda each: each.flush.started_at, default=None)

    async def _find_waiting(self) -> WaitingDocument:
        answers = await self._ask_others("/state/waiting", _KEPT_WAITING)
        kept = kept_waiting(self._app)
        return combined_waiting({**answers, own_pages(self._app): kept}, await self.windows())

    async def _find_chains(self) -> ChainsDocument:
        answers = await self._ask_others("/state/chains", _CHAINS)
        own = kept_chains(is_known=self._app.status.keeps_chains)
        return combined_chains({**answers, own_pages(self._app): own})

    async def _find_chain(self, name: str) -> ChainDocument | NoAnswer | None:
        answers = await self._ask_others(f"/state/chains?name={quote(name, safe='')}", _CHAIN)
        answers[own_pages(self._app)] = kept_chain(name)
        # The list of all chains is much larger: only if no worker has this one is it asked for.
        is_found = any(isinstance(each, ChainDocument) for each in answers.values())
        return combined_chain(answers, is_known=is_found or (await self.chains()).is_known)

    async def _find_activity(self) -> ActivityDocument:
        now = time.time()
        answers = await self._ask_others("/state/activity", _INTERVALS)
        answers[own_pages(self._app)] = self._app.status.activity.since(now - SHOWN_SECONDS)
        return combined(now, (each for each in answers.values() if not isinstance(each, NoAnswer)))

    async def _find_overview(self) -> OverviewDocument:
        kafka = self._app.settings.kafka
        look, no_answer = await self._look()
        workers = await self._ask_workers(self._last_group)
        pending = {} if look is None else await self._look_for_pending(look, workers)
        partitions = partition_documents(look, kafka.topic, workers, pending)
        return overview(kafka, self._last_group, workers, partitions, no_answer)

    async def _look(self) -> tuple[GroupLook | None, str | None]:
        try:
            look = await self._observer.look()
        except TimeoutError:
            return None, "Kafka has not answered within 3 s."
        except Exception as exc:  # noqa: BLE001 - the page says so, whatever it is
            return None, f"Kafka cannot be asked: {describe_with_type(exc)}."
        self._last_group = look.group
        return look, None

    async def _look_for_pending(
        self, look: GroupLook, workers: list[WorkerDocument]
    ) -> dict[int, FirstPending]:
        standstill = self._standstill.seconds({number: look.start(number) for number in look.ends})
        topic = self._app.settings.kafka.topic
        return await self._pending.look(unsaid(look, topic, workers, standstill))

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


def _not_answering(answers: Mapping[str, object]) -> list[str]:
    return sorted(name for name, answer in answers.items() if isinstance(answer, NoAnswer))


def _of_worker(worker: str, flush: RecentFlush) -> WorkerFlush:
    fields = {name: getattr(flush, name) for name in RecentFlush.__slots__}
    return WorkerFlush(worker=worker, **fields)


def _window(worker: str, detail: FlushDetail) -> WindowDocument:
    return WindowDocument(flush=_of_worker(worker, detail.flush), events=detail.events)
