"""What a page costs: one look for all browsers, and no worker is waited for twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter

from app import app
from app.intake.log_range import LogRange
from app.kafka.group.members import Group, Member
from app.kafka.group.observer import GroupLook
from app.operations.pages import view as view_module
from app.operations.pages.asking import NoAnswer
from app.operations.pages.view import ServiceView
from app.telemetry.recent.flushes import FlushResult, RecentFlush, RecentFlushes

ANSWERS, SILENT = "http://pod-1:6066", "http://pod-2:6066"

GROUP = Group(
    "g",
    "Stable",
    "faust",
    [
        Member("faust", "10.0.0.1", ANSWERS, {app.settings.kafka.topic: [0]}),
        Member("faust", "10.0.0.2", SILENT, {app.settings.kafka.topic: [1]}),
    ],
)
LOGS = {0: LogRange(0, 5), 1: LogRange(0, 5)}
BATCH = str(UUID(int=7))

#: What the worker that answers says on each page.
SAYS: dict[str, str] = {
    "/state": '{"version": "1", "started_at": 0, "not_ready": null}',
    "/state/windows": "[]",
    f"/state/windows/{BATCH}": "null",
    "/state/chains": '{"total": 0, "chains": []}',
    "/state/chains?name=a%2Fb": "null",
    "/state/activity": "[]",
}


class Service:
    """Counts the looks at the group, and the questions to each worker."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks = 0
        self.asked: Counter[tuple[str, str]] = Counter()
        self.view = ServiceView(app)
        monkeypatch.setattr(self.view._observer, "look", self._look)
        monkeypatch.setattr(self.view._pending, "look", self._pending)
        monkeypatch.setattr(view_module, "ask_pages", self._ask)

    async def _look(self) -> GroupLook:
        self.looks += 1
        await asyncio.sleep(0.01)
        return GroupLook(GROUP, {0: 5, 1: 5}, LOGS, {0: 5, 1: 5})

    async def _pending(self, ranges: object) -> dict[int, Any]:
        return {}

    async def _ask(self, workers: Iterable[str], path: str, kind: TypeAdapter[Any]) -> Any:
        await asyncio.sleep(0.01)
        names = list(workers)
        self.asked.update((name, path) for name in names)
        return {
            name: kind.validate_json(SAYS[path]) if name == ANSWERS else NoAnswer("It is away.")
            for name in names
        }


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    return Service(monkeypatch)


async def test_fifty_browsers_cost_one_look_and_one_question_for_each_page(
    service: Service,
) -> None:
    view = service.view
    for _ in range(2):
        found = await asyncio.gather(
            *(view.overview() for _ in range(50)),
            *(view.workers() for _ in range(50)),
            *(view.windows() for _ in range(50)),
            *(view.window(BATCH) for _ in range(50)),
            *(view.chains() for _ in range(50)),
            *(view.chain("a/b") for _ in range(50)),
            *(view.activity() for _ in range(50)),
        )
        # The same document, which is rendered once.
        assert len({id(document) for document in found}) <= 7
    assert service.looks == 1
    assert service.asked == Counter({(ANSWERS, path): 1 for path in SAYS} | {(SILENT, "/state"): 1})


async def test_a_worker_that_does_not_answer_is_asked_once_and_named_on_each_page(
    service: Service,
) -> None:
    view = service.view
    assert (await view.windows()).not_answering == [SILENT]
    assert (await view.chains()).not_answering == [SILENT]
    chain = await view.chain("a/b")
    assert isinstance(chain, NoAnswer)  # it may keep the table
    assert str(chain) == (
        f"The worker {SILENT} does not answer. It is away. The table of chains may be kept there. "
        "Once that worker has left the group, another one keeps it."
    )
    assert service.asked[SILENT, "/state"] == sum(
        count for (name, _), count in service.asked.items() if name == SILENT
    )


def abandoned(started_at: float) -> dict[str, Any]:
    """Return a flush that was abandoned, as its worker says it."""
    numbers = ("lane", "events", "datasets", "inserted", "already_there", "dead_letters")
    return {
        **dict.fromkeys((*numbers, "postponed", "bytes", "seconds"), 0),
        "batch_id": BATCH,
        "started_at": started_at,
        "result": "abandoned",
        "step_seconds": {},
        "max_latency": None,
    }


@pytest.mark.parametrize("is_own_later", [True, False])
async def test_a_window_that_was_flushed_again_is_the_last_one_whoever_is_asked(
    service: Service, monkeypatch: pytest.MonkeyPatch, *, is_own_later: bool
) -> None:
    own, other = abandoned(3.0 if is_own_later else 1.0), abandoned(2.0)
    monkeypatch.setitem(SAYS, f"/state/windows/{BATCH}", json.dumps({"flush": other, "events": []}))
    recent = RecentFlushes()
    recent.add(RecentFlush(**own | {"result": FlushResult.ABANDONED}), [])
    monkeypatch.setattr(app.status, "recent", recent)
    found = await service.view.window(BATCH)
    assert found is not None
    assert found.flush.started_at == max(own["started_at"], other["started_at"])


@pytest.mark.parametrize("name", ["", "x", "..", "0" * 4000])
async def test_no_worker_is_asked_for_what_cannot_be(service: Service, name: str) -> None:
    assert await service.view.window(name) is None
    assert await service.view.chain("\N{SNOWMAN}" * 667) is None
    assert not service.asked
