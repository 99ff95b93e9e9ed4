"""Whether events are written, and why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.kafka.group.members import Group, Member
from app.operations.pages.documents import FlowState, PartitionDocument, WorkerDocument
from app.operations.pages.verdict import judge
from tests.unit.web.documents import NOW, worker

MEMBER = Member("faust", "10.0.0.1", "http://pod-1:6066", {"t": [0]})
GROUP = Group("g", "Stable", "faust", [MEMBER])


def ready(**fields: Any) -> WorkerDocument:
    found = worker(**fields)
    return replace(found, state=found.state and replace(found.state, not_ready=None))


def partition(lag: int | None = 0, oldest: float | None = None, owner: str | None = "w") -> Any:
    return PartitionDocument(
        partition=0, owner=owner, committed=1, end=1, lag=lag, oldest_pending=oldest
    )


def verdict(**given: Any) -> tuple[FlowState, list[str]]:
    usual: dict[str, Any] = {
        "at": NOW,
        "group": GROUP,
        "no_answer": None,
        "workers": [ready()],
        "partitions": [partition()],
        "finished": 10,
    }
    return judge(**usual | given)


def test_events_flow_or_there_are_none() -> None:
    assert verdict() == (FlowState.FLOWING, [])
    assert verdict(finished=0) == (FlowState.IDLE, [])


def test_events_that_have_just_arrived_are_no_reason_to_worry() -> None:
    waiting = partition(5, NOW - 30)
    assert verdict(finished=0, partitions=[waiting]) == (FlowState.FLOWING, [])


def test_events_that_wait_while_none_is_finished_do_not_flow() -> None:
    state, (reason,) = verdict(finished=0, partitions=[partition(5, NOW - 75)])
    assert state is FlowState.STOPPED
    assert reason == "No event was finished in the last minute, and the oldest waits for 75 s."


def test_datasets_that_are_due_and_not_released_do_not_flow() -> None:
    state, (reason,) = verdict(finished=0, next_due=NOW - 75)
    assert state is FlowState.STOPPED
    assert reason == (
        "Nothing was released in the last minute, and the oldest datasets have been due for 75 s."
    )
    assert verdict(finished=0, next_due=NOW - 30) == (FlowState.IDLE, [])
    assert verdict(finished=0, next_due=NOW + 75) == (FlowState.IDLE, [])
    assert verdict(finished=10, next_due=NOW - 75) == (FlowState.FLOWING, [])  # many were due


@pytest.mark.parametrize(("events", "dead_letters"), [(40, 40), (99, 5), (5, 5)])
def test_many_dead_letters_are_a_reason_and_stop_nothing(events: int, dead_letters: int) -> None:
    reason = (
        f"Of the {events} events that were finished in the last 15 minutes, "
        f"{dead_letters} were set aside."
    )
    pending: dict[str, Any] = {"finished": 0, "partitions": [partition(1, NOW - 2)]}
    for given in ({}, {"finished": 0}, pending):
        found = verdict(last_quarter=(events, dead_letters), **given)
        assert found == (FlowState.IMPAIRED, [reason])


@pytest.mark.parametrize(("events", "dead_letters"), [(4, 4), (100, 5), (0, 0)])
def test_a_few_dead_letters_are_no_reason(events: int, dead_letters: int) -> None:
    assert verdict(last_quarter=(events, dead_letters)) == (FlowState.FLOWING, [])


def test_an_event_that_waits_for_long_while_others_are_finished_is_a_reason() -> None:
    both = [partition(), partition(1, NOW - 301)]
    assert verdict(partitions=both) == (
        FlowState.IMPAIRED,
        ["The oldest pending event was sent 301 s ago."],
    )
    assert verdict(partitions=[partition(1, NOW - 299)]) == (FlowState.FLOWING, [])


def test_a_sender_that_holds_back_events_is_a_reason() -> None:
    held = ready()
    assert held.state is not None
    held = replace(held, state=replace(held.state, held_back_seconds=75.0))
    state, (reason,) = verdict(workers=[held], finished=0)
    assert state is FlowState.IMPAIRED
    assert reason == (
        "A sender has left a transaction open for 75 s. Events behind it cannot be read by the "
        "worker http://pod-1:6066, and are not counted."
    )
    held = replace(held, state=held.state and replace(held.state, held_back_seconds=59.0))
    assert verdict(workers=[held]) == (FlowState.FLOWING, [])


def test_many_dead_letters_do_not_hide_that_nothing_is_written() -> None:
    state, reasons = verdict(no_answer="Kafka is away.", finished=0, last_quarter=(40, 40))
    assert (state, len(reasons)) == (FlowState.STOPPED, 2)


def test_a_group_without_workers_does_not_flow() -> None:
    empty = Group("g", "Empty", "")
    state, reasons = verdict(
        group=empty, finished=0, workers=[], partitions=[partition(owner=None)]
    )
    assert (state, reasons) == (FlowState.STOPPED, ["No worker is in the group g."])


@pytest.mark.parametrize("finished", [10, 0])
def test_without_a_ready_worker_events_do_not_flow(finished: int) -> None:
    """Whatever was finished in the last minute: that was before."""
    found, (reason,) = verdict(workers=[worker("write is failing")], finished=finished)
    assert reason == "The worker http://pod-1:6066 is not ready: write is failing."
    assert found is FlowState.STOPPED


def test_a_worker_that_is_not_ready_is_a_reason() -> None:
    found, reasons = verdict(workers=[worker("write is failing"), ready()])
    assert reasons == ["The worker http://pod-1:6066 is not ready: write is failing."]
    assert found is FlowState.IMPAIRED


def test_a_worker_that_does_not_answer_is_a_reason() -> None:
    silent = worker(pages="http://pod-2:6066", no_answer="It is away.", state=None)
    state, reasons = verdict(workers=[ready(), silent])
    assert state is FlowState.IMPAIRED
    assert reasons == ["The worker http://pod-2:6066 does not answer. It is away."]


def test_a_partition_without_a_worker_is_a_reason() -> None:
    state, reasons = verdict(partitions=[partition(owner=None)], finished=0)
    assert state is FlowState.IMPAIRED
    assert reasons == ["No worker reads partition 0 (the group's state: Stable)."]


def test_kafka_that_does_not_answer_is_a_reason() -> None:
    assert verdict(no_answer="Kafka is away.") == (FlowState.IMPAIRED, ["Kafka is away."])
    assert verdict(no_answer="Kafka is away.", finished=0)[0] is FlowState.STOPPED


def test_members_of_another_service_are_a_reason() -> None:
    state, (reason,) = verdict(group=Group("g", "Stable", "range", [MEMBER]))
    assert state is FlowState.IMPAIRED
    assert reason.startswith("The members of the group g (1) share its partitions by 'range', so ")
