"""What ``status`` finds wrong, and workers whose pages cannot be reached."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from app.kafka.group.members import Group, Member
from app.kafka.readers import MessageId
from app.operations.dead_letters import DeadLetters, StoredLetter
from app.operations.status import service_status
from app.operations.status.lag import PartitionLag
from app.operations.status.service_status import DeadLetterCounts, ServiceStatus
from app.operations.status.worker_pages import WorkerReport, ask_workers
from models.causes import Cause
from models.dead_letter import DeadLetter
from testbed.ports import free_port

WORKER = Member("faust", "10.0.0.1", "http://pod-1:6066", {"t": [0]})


def status(group: Group, **report: object) -> ServiceStatus:
    partitions = [PartitionLag(number, 0, 0, 5, 5, 1.0) for number in range(2)]
    reports = [WorkerReport(member, **report) for member in group.members]  # type: ignore[arg-type]
    return ServiceStatus("t", group, reports, partitions, DeadLetterCounts(Counter()))


def test_a_group_without_members_is_a_finding() -> None:
    (finding,) = status(Group("g", "Empty", "")).findings
    assert finding == "no worker is in the group g; start one: faust -A app worker"


def test_members_of_another_protocol_are_a_finding() -> None:
    (finding,) = status(Group("g", "Stable", "range", [WORKER])).findings
    assert "share its partitions by 'range', so they are no workers of this service" in finding
    assert "stop them" in finding


def test_a_worker_that_is_not_ready_and_a_partition_without_a_worker_are_findings() -> None:
    found = status(Group("g", "Stable", "faust", [WORKER]), is_ready=False, not_ready="why")
    assert found.findings[0] == "worker http://pod-1:6066 is not ready: why"
    assert found.findings[1].startswith("no worker reads t-1 (group: Stable); ")
    assert len(found.findings) == 2


@pytest.mark.parametrize("letters", [3, 10**9])
async def test_dead_letters_are_counted_for_a_limited_time(
    monkeypatch: pytest.MonkeyPatch, letters: int
) -> None:
    async def read(_: DeadLetters) -> AsyncGenerator[StoredLetter, None]:
        for offset in range(letters):
            letter = DeadLetter.of(("t", 0), offset, Cause.CONFLICT, "the reason")
            yield StoredLetter(MessageId(0, offset), letter, None, b"{}")
            await asyncio.sleep(0)

    monkeypatch.setattr(DeadLetters, "read", read)
    monkeypatch.setattr(service_status, "_COUNTING_SECONDS", 0.2)
    unused: Any = None
    async with asyncio.timeout(30):
        found = await service_status._letters(unused, unused)
    assert found is not None
    counted = found.by_cause["conflict"]
    assert found.is_complete == (letters == 3)
    relation = "=" if found.is_complete else ">="
    assert str(found) == f"total{relation}{counted} conflict={counted}"


@pytest.mark.parametrize(
    "pages",
    [None, f"http://127.0.0.1:{free_port()}", "no address"],
    ids=["no pages", "nobody listens", "no address"],
)
async def test_a_worker_whose_pages_cannot_be_reached_is_no_finding(pages: str | None) -> None:
    member = Member("faust", "10.0.0.1", pages, {"t": [0, 1]})
    (report,) = await ask_workers([member])
    assert report == WorkerReport(member)
    group = Group("g", "Stable", "faust", [member])
    found = ServiceStatus("t", group, [report], [PartitionLag(0, 0, 0, 0, 0, None)], None)
    assert found.findings == []
