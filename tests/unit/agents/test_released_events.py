"""The messages of a window of the product log, with what is released of each."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import orjson
import pytest

from agents.released_events import ReleasedContent, ReleasedEvents
from app.butler.repository.chains import Position
from app.downstream.due_messages import DueMessage
from app.downstream.selection import Exclusion
from app.downstream.selector import Selector
from app.downstream.waiting import Due
from app.downstream.withdrawn import Withdrawn
from app.intake.entries import Entry
from app.intake.received import Received
from app.intake.windows import Arrival
from app.parts import Replica
from app.settings.quiet_hours import QuietHours
from models.causes import Cause
from models.product import Products
from tests.unit.downstream.messages import EVENING, HOUR, record, rules, timespan, universe

UNIVERSE = (universe().namespace, universe().version)
RULES = """
- dataset_types: [image]
  embargo_hours: 80
- dataset_types: [catalog]
  embargo_hours: 0
"""


def ref(name: str) -> dict[str, Any]:
    return {"dataset_type_name": name, "run": "r", "data_id": {"instrument": "TestCam"}}


def value(**more: Any) -> bytes:
    files = [
        {"refs": {name: ref(name)}, "path": f"{name}.fits", "formatter": "lsst.F"}
        for name in ("image", "catalog", "other")
    ]
    fields: dict[str, Any] = {
        "batch_id": "b",
        "sequence": 0,
        "records_in_batch": 1,
        "committed_at": "2026-11-24T02:00:00.000000Z",
        "universe": {"namespace": UNIVERSE[0], "version": UNIVERSE[1]},
        "datastore": "FileDatastore@<butlerRoot>",
        "run": "r",
        "chains": ["c"],
        "dimension_records": [],
        "dataset_types": [],
        "datasets": files,
    }
    message = Products(**(fields | more))
    assert asdict(message)
    return message.encode()


def arrival(payload: Received) -> Arrival[Received]:
    return Arrival(Entry(("log", 2), 5, 1, 0, lambda: None), payload)


def events(
    *payloads: Received,
    text: str | None = None,
    now: int = EVENING,
    withdrawn: Withdrawn = Withdrawn(),  # noqa: B008 - it is not changed
) -> ReleasedEvents:
    selector = None if text is None else Selector(rules(text), universe())
    replica = Replica(universe=UNIVERSE, selector=selector, staging="/source/", clock=lambda: now)
    return ReleasedEvents([arrival(payload) for payload in payloads], 10_000, replica, withdrawn)


def content(found: ReleasedEvents) -> list[ReleasedContent]:
    return [each for _, each in found.items() if isinstance(each, ReleasedContent)]


def test_without_rules_everything_is_released_from_the_source() -> None:
    (found,) = content(events(Received(None, value())))
    assert [file["path"] for file in found.datasets] == ["image.fits", "catalog.fits", "other.fits"]
    assert found.chains == ["c"]
    assert found.staging == "/source/"


def test_with_rules_only_what_is_due_is_released() -> None:
    decoded = events(Received(None, value()), text=RULES)
    (found,) = content(decoded)
    assert [file["path"] for file in found.datasets] == ["catalog.fits"]
    (selection,) = decoded.selections.values()
    assert selection.held
    assert selection.excluded
    assert selection.release.datasets == []


def test_of_a_message_of_which_nothing_is_due_nothing_is_asked_of_the_source() -> None:
    text = RULES.replace("[catalog]", "[nothing]")
    (found,) = content(events(Received(None, value()), text=text))
    assert (found.datasets, found.dimension_records, found.staging) == ([], [], None)


@pytest.mark.parametrize(
    ("payload", "cause", "reason"),
    [
        (Received(None, b"{"), Cause.INVALID_EVENT, "not JSON"),
        (
            Received(None, value(universe={"namespace": "daf_butler", "version": 2})),
            Cause.INVALID_EVENT,
            "the source has version 2 of the dimension universe daf_butler, and this repository",
        ),
        (
            DueMessage(None, None, due=Due(HOUR, 2, 5), is_removed=True),
            Cause.REMOVED_MESSAGE,
            "the product log no longer has offset 5 of partition 2",
        ),
        (
            Received(None, orjson.dumps({"type": "pp-output"})),
            Cause.INVALID_EVENT,
            "type is 'pp-output'",
        ),
    ],
)
def test_a_bad_message_is_rejected(payload: Received, cause: Cause, reason: str) -> None:
    decoded = events(payload, text=RULES)
    assert content(decoded) == []
    (rejection,) = decoded.rejected.values()
    assert rejection.cause is cause
    assert reason in rejection.reason
    assert decoded.selections == {}


@pytest.mark.parametrize("text", [None, RULES])
def test_what_was_withdrawn_is_not_released_and_does_not_wait(text: str | None) -> None:
    payload = Received(None, value())
    found = events(payload, text=text, withdrawn=Withdrawn(runs={"r"}))
    (released,) = content(found)
    assert released.datasets == []
    (selection,) = found.selections.values()
    withdrawn = {"image": 1, "catalog": 1, "other": 1}
    assert selection.excluded == {Exclusion.WITHDRAWN: withdrawn}
    assert (selection.waiting, selection.held) == ({}, {})


@pytest.mark.parametrize("replaces", [True, False])
def test_a_message_that_is_read_again_replaces_no_record(*, replaces: bool) -> None:
    replica = Replica(universe=UNIVERSE, replaces_records=replaces, clock=lambda: EVENING)
    again = DueMessage(None, value(), due=Due(EVENING, 2, 5))
    arrivals = [arrival(payload) for payload in (Received(None, value()), again)]
    found = content(ReleasedEvents(arrivals, 10_000, replica, Withdrawn()))
    assert [each.replaces_records for each in found] == [replaces, False]


def test_a_message_that_is_read_again_moves_no_run() -> None:
    """The source may have moved the run since."""
    for payload, moves in (
        (Received(None, value(chain_positions={"c": -2})), True),
        (DueMessage(None, value(chain_positions={"c": -2}), due=Due(EVENING, 2, 5)), False),
    ):
        found = events(payload)
        assert content(found)
        assert found.positions == {("c", "r"): Position(-2, moves=moves)}


def test_in_quiet_hours_only_what_has_no_embargo_is_released_and_nothing_is_lost() -> None:
    text = RULES.replace("embargo_hours: 80", "embargo_hours: 0.5")
    selector = Selector(rules(text), universe())
    visit = record("visit", id=1, timespan=timespan(EVENING))
    files = [
        {"refs": {name: {**ref(name), "data_id": data_id}}, "path": name, "formatter": "lsst.F"}
        for name in ("image", "catalog")
        for data_id in [{"instrument": "TestCam", "visit": 1}]
    ]
    message = value(datasets=files, dimension_records=[visit])
    due = EVENING + HOUR // 2
    quiet = QuietHours.parse("02:00-03:00")  # the evening is at 02:00
    for now, released in (
        (due - 1, ["catalog"]),
        (due + 1, ["catalog"]),
        (EVENING + HOUR - 1, ["catalog"]),
        (EVENING + HOUR, ["image", "catalog"]),
    ):
        replica = Replica(
            universe=UNIVERSE, selector=selector, clock=partial(int, now), quiet_hours=quiet
        )
        arrivals = [arrival(Received(None, message))]
        found = ReleasedEvents(arrivals, 10_000, replica, Withdrawn())
        assert [file["path"] for each in content(found) for file in each.datasets] == released
        waits = {due: {"image": 1}} if released == ["catalog"] else {}
        assert found.selections[arrivals[0]].waiting == waits
