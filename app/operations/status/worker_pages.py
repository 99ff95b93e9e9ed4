"""Asks the pages of the workers in the group how they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from app.kafka.group.members import Member
from app.operations.pages.asking import NoAnswer, ask_pages

__all__ = ["WorkerReport", "ask_workers"]

#: Seconds that the pages of one worker get to answer.
_TIMEOUT = 3.0


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker's pages say.

    Attributes
    ----------
    member : `Member`
        The worker.
    is_ready : `bool` or `None`
        Whether it can do its work now; `None` if its pages cannot be reached from here.
    not_ready : `str` or `None`
        Why it is not ready.
    version : `str` or `None`
        Its version.
    last_error : `dict` or `None`
        The step that failed last (perhaps it succeeded since), its error, and when that was.
    """

    member: Member
    is_ready: bool | None = None
    not_ready: str | None = None
    version: str | None = None
    last_error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _State:
    """What is read of a worker's page ``/state``."""

    not_ready: str | None
    version: str
    last_error: dict[str, Any] | None


_STATE = TypeAdapter(_State)


async def ask_workers(members: list[Member]) -> list[WorkerReport]:
    """Ask the pages of all members, at the same time."""
    pages = [member.pages for member in members if member.pages is not None]
    answers = await ask_pages(pages, "/state", _STATE, _TIMEOUT)
    return [_report(member, answers.get(member.pages or "")) for member in members]


def _report(member: Member, answer: _State | NoAnswer | None) -> WorkerReport:
    # A pod's name may be known only inside of the cluster, or be that of another service.
    if not isinstance(answer, _State):
        return WorkerReport(member)
    return WorkerReport(
        member,
        is_ready=answer.not_ready is None,
        not_ready=answer.not_ready,
        version=answer.version,
        last_error=answer.last_error,
    )
