"""What the overview says to do next, and that the runbook has a section for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.operations.pages.documents import (
    FlowState,
    OverviewDocument,
    WaitingFigures,
    WorkerDocument,
)
from app.telemetry.status import Status
from app.web.next_steps import next_steps
from app.web.rendering import DOCUMENTS, render
from tests.support.runbook import RUNBOOK_URL, anchors
from tests.unit.web import documents


def worker(reason: str | None = None, **fields: Any) -> WorkerDocument:
    found = documents.worker("x", **fields)
    assert found.state is not None
    return replace(found, state=replace(found.state, not_ready=reason))


def overview(state: FlowState = FlowState.IMPAIRED, **fields: Any) -> OverviewDocument:
    """Return an overview with nothing wrong but what is given."""
    given = {
        "no_answer": None,
        "workers": [worker()],
        "dead_letters_last_hour": 0,
        "waiting": None,
    }
    return documents.overview("x", state=state, **given | fields)


def sections(shown: OverviewDocument) -> list[str]:
    return [step.section for step in next_steps(shown)]


def failing(status: Status) -> None:
    status.failed("write", 0, ValueError("x"))


def slow(status: Status) -> None:
    status.step_times.warning_seconds = 30.0
    status.step_times._started["write", 0] = status.step_times.clock() - 40.0


def unassigned(status: Status) -> None:
    status.revoked()


def away(name: str) -> Callable[[Status], None]:
    return lambda status: status.cannot_use(name, f"{name} does not answer: x")


def refused(status: Status) -> None:
    status.note_login("write", "the database refuses the login: x")


@pytest.mark.parametrize(
    ("happens", "section"),
    [
        (away("the database"), "butlerwriterdatabaseaway"),
        (away("the repository"), "butlerwriterdatabaseaway"),
        (away("Kafka"), "butlerwriterbrokersaway"),
        (away("the list directory"), "butlerwriterdatastoreaway"),
        (failing, "butlerwriterstepfailing"),
        (slow, "butlerwriterstuck"),
        (refused, "a-password-or-certificate-was-rotated"),
        (unassigned, "first-look"),
    ],
    ids=["database", "repository", "kafka", "lists", "failing", "slow", "login", "unassigned"],
)
def test_a_worker_that_is_not_ready_leads_to_the_section_of_its_reason(
    happens: Callable[[Status], None], section: str
) -> None:
    status = Status()
    status.assigned()
    happens(status)
    assert status.not_ready
    assert sections(overview(workers=[worker(status.not_ready)])) == [section]


def test_each_problem_leads_to_its_section() -> None:
    partition = documents.overview("x").partitions[0]
    unread = [replace(partition, owner=None)]
    gone = documents.silent("x")
    assert sections(overview(no_answer="x")) == ["butlerwriterbrokersaway"]
    assert sections(overview(workers=[worker(is_member=False)])) == ["butlerwriternoworker"]
    assert sections(overview(workers=[worker(), gone])) == ["butlerwriternoworker"]
    assert sections(overview(partitions=unread)) == ["butlerwriterpartitionwithoutworker"]
    assert sections(overview(FlowState.STOPPED)) == ["butlerwriterstuck"]
    assert sections(overview(reasons=["x"])) == ["first-look"]
    held = worker()
    assert held.state is not None
    held = replace(held, state=replace(held.state, held_back_seconds=75.0))
    assert sections(overview(workers=[held])) == ["butlerwriterstuck"]
    assert sections(overview(FlowState.FLOWING, reasons=[])) == []


def test_dead_letters_come_last_and_are_named_while_events_are_written() -> None:
    shown = overview(FlowState.FLOWING, reasons=[], dead_letters_last_hour=3)
    assert sections(shown) == ["butlerwriterdeadletters"]
    shown = overview(no_answer="x", dead_letters_last_hour=3)
    assert sections(shown) == ["butlerwriterbrokersaway", "butlerwriterdeadletters"]


def test_many_dead_letters_lead_to_what_has_changed() -> None:
    many: dict[str, Any] = {
        "events_last_quarter": 40,
        "dead_letters_last_quarter": 40,
        "dead_letters_last_hour": 40,
    }
    shown = overview(reasons=["x"], **many)
    assert sections(shown) == ["butlerwritermanydeadletters"]
    shown = overview(reasons=["another service is in the group", "x"], **many)
    assert sections(shown) == ["first-look", "butlerwritermanydeadletters"]


def test_each_section_is_in_the_runbook_at_the_address_of_the_alerts() -> None:
    from app.web import next_steps as module

    steps = [each for each in vars(module).values() if isinstance(each, module.NextStep)]
    assert len(steps) > 10
    assert {step.section for step in steps} <= anchors()
    assert f"{DOCUMENTS}runbook.html" == RUNBOOK_URL
    html = render("overview", shown=overview(no_answer="x"), page="")
    assert f'href="{RUNBOOK_URL}#butlerwriterbrokersaway"' in html


def test_what_is_held_and_what_is_overdue_lead_to_the_sections_of_a_downstream_repository() -> None:
    held, overdue = WaitingFigures(0, 5, None), WaitingFigures(5, 0, documents.NOW - 600)
    assert sections(overview(FlowState.IDLE, reasons=[], waiting=held)) == [
        "butlerwriterdownstreamheld"
    ]
    stopped = overview(FlowState.STOPPED, waiting=overdue, lag=0, oldest_pending=None)
    assert sections(stopped) == ["butlerwriterdownstreamoverdue"]
    assert {"butlerwriterdownstreamheld", "butlerwriterdownstreamoverdue"} <= anchors()
