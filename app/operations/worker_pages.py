"""Asks the pages of the workers in the group how they are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp

from app.kafka.group.members import Member

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


async def ask_workers(members: list[Member]) -> list[WorkerReport]:
    """Ask the pages of all members, at the same time."""
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return list(await asyncio.gather(*(_ask(session, member) for member in members)))


async def _ask(session: aiohttp.ClientSession, member: Member) -> WorkerReport:
    if member.pages is None:
        return WorkerReport(member)
    try:
        async with session.get(f"{member.pages}/state") as answer:
            state = await answer.json(content_type=None)
            return WorkerReport(
                member,
                is_ready=state["not_ready"] is None,
                not_ready=state["not_ready"],
                version=state["version"],
                last_error=state["last_error"],
            )
    # A pod's name may be known only inside of the cluster, or be that of another service.
    except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError):
        return WorkerReport(member)
