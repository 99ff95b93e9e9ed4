"""What is released of a message, what waits, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from app.downstream.embargo import HoldReason
from app.downstream.selection import Exclusion, Release
from models.errors import InvalidEventError
from tests.unit.downstream.messages import (
    EVENING,
    HOUR,
    NO_END,
    RUN,
    SECOND,
    Message,
    artifact,
    dataset,
    exposure,
    fixed_records,
    group_of,
    names,
    record,
    ref,
    selector,
    timespan,
    visit,
    visit_records,
)

RULES = """
- dataset_types: [image]
  embargo_hours: 80
- dataset_types: [catalogue, log]
  embargo_hours: 0
- dataset_types: [secret]
  exclude: true
"""

DUE = EVENING + 80 * HOUR
LATER = DUE + 1000 * HOUR


def night(*datasets: Any, span: object = None, **more: Any) -> Message:
    """Return a message with datasets of visits 1 and 2, which end in the evening."""
    given = timespan(EVENING) if span is None else span
    records = [*fixed_records(3, 4), *visit_records(1, given, 3, 4), *visit_records(2, given, 3)]
    return Message([*datasets], records, **more)


# Time


def test_a_dataset_is_due_when_its_embargo_after_the_end_of_its_visit_is_over() -> None:
    message = night(dataset("image", visit=1, detector=3))
    before = selector(RULES).select(message, DUE - 1)
    assert before.release == Release()
    assert before.waiting == {DUE: {"image": 1}}
    after = selector(RULES).select(message, DUE)
    assert after.release.datasets == message.datasets
    assert after.waiting == {}


@pytest.mark.parametrize("data_id", [{"visit": 1}, {"exposure": 1}, {"group": group_of(1)}])
def test_visit_exposure_and_group_tell_the_time(data_id: dict[str, Any]) -> None:
    message = night(dataset("image", detector=3, **data_id))
    assert selector(RULES).select(message, DUE - 1).waiting == {DUE: {"image": 1}}
    assert selector(RULES).select(message, DUE).release.datasets == message.datasets


def test_the_visit_counts_before_its_exposure() -> None:
    records = [exposure(1, timespan(EVENING)), visit(1, timespan(EVENING + HOUR))]
    message = Message([dataset("image", visit=1, exposure=1)], records)
    assert selector(RULES).select(message, DUE).waiting == {DUE + HOUR: {"image": 1}}


def test_the_youngest_exposure_of_a_group_counts() -> None:
    records = [
        exposure(number, timespan(EVENING + late), group="g")
        for number, late in enumerate([HOUR, 5 * HOUR, 0])
    ]
    records.append(exposure(9, timespan(EVENING + 9 * HOUR), group="another"))
    message = Message([dataset("image", group="g")], records)
    assert selector(RULES).select(message, DUE).waiting == {DUE + 5 * HOUR: {"image": 1}}


@pytest.mark.parametrize("order", [1, -1])
def test_the_later_end_counts_of_what_is_stored_and_what_an_event_said(order: int) -> None:
    versions = [visit(1, timespan(EVENING)), visit(1, timespan(EVENING + 1))][::order]
    message = Message([dataset("image", visit=1)], versions)
    assert selector(RULES).select(message, DUE).waiting == {DUE + 1: {"image": 1}}
    assert selector(RULES).select(message, DUE + 1).release.dimension_records == versions


def test_without_an_embargo_a_dataset_needs_no_time() -> None:
    message = night(
        dataset("log"), dataset("catalogue", visit=1, detector=3), span=[0, NO_END], chains=["c"]
    )
    released = selector(RULES).select(message, 0).release
    assert released.datasets == message.datasets
    assert released.chains == ["c"]


def test_a_dataset_of_a_visit_that_has_not_ended_by_our_clock_is_not_held_back() -> None:
    """Its pod has written it: the clocks differ."""
    message = night(dataset("catalogue", visit=1, detector=3))
    assert selector(RULES).select(message, EVENING - HOUR).release.datasets == message.datasets


# Held


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        ([0, NO_END], HoldReason.UNBOUNDED_TIMESPAN),
        ([EVENING, NO_END], HoldReason.UNBOUNDED_TIMESPAN),
        ([EVENING, NO_END + 1], HoldReason.UNBOUNDED_TIMESPAN),
        ([NO_END, 0], HoldReason.EMPTY_TIMESPAN),
        ([EVENING, EVENING], HoldReason.EMPTY_TIMESPAN),
        ([EVENING, EVENING - 1], HoldReason.EMPTY_TIMESPAN),
        ([EVENING], HoldReason.INVALID_TIMESPAN),
        ([], HoldReason.INVALID_TIMESPAN),
        ([0, 1, 2], HoldReason.INVALID_TIMESPAN),
        ([False, True], HoldReason.INVALID_TIMESPAN),
        ([0, 1.5], HoldReason.INVALID_TIMESPAN),
        ([None, EVENING], HoldReason.INVALID_TIMESPAN),
        (["0", "1"], HoldReason.INVALID_TIMESPAN),
        ("01", HoldReason.INVALID_TIMESPAN),
        (EVENING, HoldReason.INVALID_TIMESPAN),
        ({"begin": 0, "end": 1}, HoldReason.INVALID_TIMESPAN),
    ],
)
@pytest.mark.parametrize("data_id", [{"visit": 1}, {"exposure": 1}, {"group": group_of(1)}])
def test_a_dataset_whose_end_is_not_known_is_held(
    span: object, reason: HoldReason, data_id: dict[str, Any]
) -> None:
    message = night(dataset("image", detector=3, **data_id), span=span)
    found = selector(RULES).select(message, LATER)
    assert found.held == {reason: {"image": 1}}
    assert found.release == Release()


def test_a_timespan_that_is_null_or_missing_holds_a_dataset() -> None:
    records = [visit(1, None), visit(2, None)]
    del records[1]["record"]["timespan"]
    message = Message([dataset("image", visit=1), dataset("image", visit=2)], records)
    assert selector(RULES).select(message, LATER).held == {HoldReason.NO_TIMESPAN: {"image": 2}}


def test_a_dataset_without_an_observation_is_held_if_it_has_an_embargo() -> None:
    message = night(dataset("image"), dataset("image", day_obs=20261123), dataset("log"))
    found = selector(RULES).select(message, LATER)
    assert found.held == {HoldReason.NO_OBSERVATION: {"image": 2}}
    assert found.release.datasets == message.datasets[2:]


@pytest.mark.parametrize(
    ("data_id", "reason"),
    [
        ({"visit": 9}, HoldReason.NO_RECORD),
        ({"exposure": 9}, HoldReason.NO_RECORD),
        ({"group": "nobody"}, HoldReason.NO_EXPOSURE),
    ],
)
def test_a_dataset_whose_record_is_missing_is_held(
    data_id: dict[str, Any], reason: HoldReason
) -> None:
    message = night(dataset("image", **data_id))
    assert selector(RULES).select(message, LATER).held == {reason: {"image": 1}}


def test_one_exposure_of_a_group_without_an_end_holds_the_group() -> None:
    records = [
        exposure(1, timespan(EVENING), group="g"),
        exposure(2, [0, NO_END], group="g"),
    ]
    message = Message([dataset("image", group="g")], records)
    held = selector(RULES).select(message, LATER).held
    assert held == {HoldReason.UNBOUNDED_TIMESPAN: {"image": 1}}


def test_a_dimension_that_the_repository_lacks_holds_a_dataset_and_nothing_else() -> None:
    message = night(dataset("log", moon=1), dataset("log", visit=1))
    found = selector(RULES).select(message, LATER)
    assert found.held == {HoldReason.UNKNOWN_DIMENSION: {"log": 1}}
    assert found.release.datasets == message.datasets[1:]


# Left out


def test_a_type_without_a_rule_is_left_out_and_named() -> None:
    message = night(dataset("plot", visit=1), dataset("secret", visit=1), dataset("plot", visit=2))
    found = selector(RULES).select(message, LATER)
    assert found.excluded == {
        Exclusion.NO_RULE: {"plot": 2},
        Exclusion.BY_RULE: {"secret": 1},
    }
    assert found.release == Release()


def test_the_run_of_the_dataset_and_the_origin_of_the_message_are_matched() -> None:
    text = f"- runs: ['{RUN}']\n  origins: [prompt*]\n  embargo_hours: 0\n"
    message = Message([dataset("image"), dataset("image", run="other")])
    assert selector(text).select(message, 0).release.datasets == message.datasets[:1]
    message.origin = "daytime"
    assert selector(text).select(message, 0).release == Release()


# The sky

DARK = "- can_see_sky: false\n  embargo_hours: 0\n" + RULES


@pytest.mark.parametrize("data_id", [{"visit": 1}, {"exposure": 1}, {"group": group_of(1)}])
def test_data_that_cannot_see_the_sky_has_its_embargo_unless_a_rule_says_otherwise(
    data_id: dict[str, Any],
) -> None:
    records = visit_records(1, timespan(EVENING), can_see_sky=False)
    message = Message([dataset("image", **data_id)], records)
    assert selector(RULES).select(message, DUE - 1).waiting == {DUE: {"image": 1}}
    assert selector(DARK).select(message, 0).release.datasets == message.datasets


@pytest.mark.parametrize("data_id", [{"visit": 1}, {"exposure": 1}, {"group": group_of(1)}])
@pytest.mark.parametrize("can_see_sky", [True, None])
def test_what_may_have_seen_the_sky_has_its_embargo(
    data_id: dict[str, Any], can_see_sky: bool | None
) -> None:
    records = visit_records(1, timespan(EVENING), can_see_sky=can_see_sky)
    message = Message([dataset("image", **data_id)], records)
    assert selector(DARK).select(message, DUE - 1).waiting == {DUE: {"image": 1}}


def test_one_exposure_that_saw_the_sky_is_enough() -> None:
    records = [
        *visit_records(1, timespan(EVENING), can_see_sky=False),
        exposure(2, timespan(EVENING), group=group_of(1), can_see_sky=True),
        record("visit_definition", exposure=2, visit=1),
    ]
    message = Message([dataset("image", visit=1), dataset("image", group=group_of(1))], records)
    assert selector(DARK).select(message, DUE - 1).waiting == {DUE: {"image": 2}}


def test_one_version_that_saw_the_sky_is_enough() -> None:
    records = [exposure(1, timespan(EVENING), can_see_sky=sees) for sees in (False, True)]
    message = Message([dataset("image", exposure=1)], records)
    assert selector(DARK).select(message, DUE - 1).waiting == {DUE: {"image": 1}}


def test_an_exposure_that_the_message_lacks_may_have_seen_the_sky() -> None:
    records = [visit(1, timespan(EVENING)), record("visit_definition", exposure=1, visit=1)]
    message = Message([dataset("image", visit=1), dataset("image", visit=2)], records)
    found = selector(DARK).select(message, DUE - 1)
    assert found.waiting == {DUE: {"image": 1}}
    assert found.held == {HoldReason.NO_RECORD: {"image": 1}}


# Files


def test_a_file_is_released_when_the_last_of_its_datasets_is_due() -> None:
    both = artifact(ref("catalogue", visit=1), ref("image", visit=2))
    message = night(both)
    found = selector(RULES).select(message, DUE - 1)
    assert found.release == Release()
    assert found.waiting == {DUE: {"catalogue": 1, "image": 1}}
    assert selector(RULES).select(message, DUE).release.datasets == [both]


@pytest.mark.parametrize(("name", "why"), [("secret", "by_rule"), ("plot", "no_rule")])
def test_a_file_with_a_dataset_that_is_never_released_is_not_either(name: str, why: str) -> None:
    found = selector(RULES).select(night(artifact(ref("log"), ref("image"), ref(name))), LATER)
    assert found.release == Release()
    assert found.excluded == {Exclusion(why): {"log": 1, "image": 1, name: 1}}


def test_only_the_dataset_without_a_rule_of_a_file_is_named_as_such() -> None:
    found = selector(RULES).select(night(artifact(ref("secret"), ref("plot"))), LATER)
    assert found.excluded == {Exclusion.BY_RULE: {"secret": 1}, Exclusion.NO_RULE: {"plot": 1}}


def test_a_file_that_a_message_has_in_several_parts_is_released_as_a_whole() -> None:
    message = night(dataset("catalogue", visit=1), dataset("image", visit=2))
    message.datasets[1]["path"] = message.datasets[0]["path"]
    for parts in (message.datasets, message.datasets[::-1]):
        message.datasets = parts
        found = selector(RULES).select(message, DUE - 1)
        assert found.waiting == {DUE: {"catalogue": 1, "image": 1}}
        assert selector(RULES).select(message, DUE).release.datasets == parts


def test_a_file_that_has_datasets_in_other_messages_is_held() -> None:
    """Nobody knows when the last of them is due."""
    found = selector(RULES).select(night(dataset("catalogue", visit=1) | {"is_part": True}), LATER)
    assert found.release == Release()
    assert found.held == {HoldReason.DIVIDED_ARTIFACT: {"catalogue": 1}}


def test_a_file_with_a_dataset_that_is_held_is_held() -> None:
    found = selector(RULES).select(night(artifact(ref("image"), ref("image", visit=1))), LATER)
    assert found.held == {HoldReason.NO_OBSERVATION: {"image": 2}}


# Dimension records

FIXED = {("instrument", "TestCam"), ("physical_filter", "r_57"), ("day_obs", 20261123)}


def of_visit(number: int) -> set[tuple[Any, ...]]:
    return {
        ("visit", number),
        ("visit_definition", number, number),
        ("visit_system_membership", 2, number),
        ("visit_system", 2),
        ("exposure", number),
        ("group", group_of(number)),
    }


def test_a_dataset_of_a_visit_brings_what_defines_it_and_the_region_of_its_detector() -> None:
    message = night(dataset("catalogue", visit=1, detector=3))
    released = selector(RULES).select(message, 0).release
    assert names(released.dimension_records) == FIXED | of_visit(1) | {
        ("detector", 3),
        ("visit_detector_region", 3, 1),
    }


def test_a_dataset_of_a_visit_as_a_whole_brings_no_detector() -> None:
    released = selector(RULES).select(night(dataset("catalogue", visit=1)), 0).release
    assert names(released.dimension_records) == FIXED | of_visit(1)


def test_a_dataset_of_an_exposure_does_not_bring_its_visit() -> None:
    released = selector(RULES).select(night(dataset("log", exposure=1, detector=3)), 0).release
    expected = FIXED | {("exposure", 1), ("group", group_of(1)), ("detector", 3)}
    assert names(released.dimension_records) == expected


def test_a_dataset_of_a_group_does_not_bring_its_exposures() -> None:
    """Where the telescope pointed is in them; here they only tell the time."""
    message = night(dataset("log", group=group_of(1), detector=3))
    released = selector(RULES).select(message, 0).release
    assert names(released.dimension_records) == {
        ("instrument", "TestCam"),
        ("group", group_of(1)),
        ("detector", 3),
    }


def test_records_of_datasets_that_wait_are_held_with_them() -> None:
    message = night(
        dataset("catalogue", visit=1, detector=3),
        dataset("image", visit=1, detector=4),
        dataset("image", visit=2, detector=3),
    )
    released = selector(RULES).select(message, DUE - 1).release
    found = names(released.dimension_records)
    assert ("visit_detector_region", 3, 1) in found
    assert ("visit_detector_region", 4, 1) not in found
    assert not found & (of_visit(2) - {("visit_system", 2)})
    everything = selector(RULES).select(message, DUE).release
    assert everything.dimension_records == message.dimension_records


def test_a_data_id_may_have_more_values_than_it_needs_and_in_other_types() -> None:
    message = night(
        dataset("catalogue", visit="1", detector=3.0, band="r", physical_filter="r_57"),
    )
    released = selector(RULES).select(message, 0).release
    assert ("visit_detector_region", 3, 1) in names(released.dimension_records)


def test_a_dataset_of_a_band_brings_the_filters_that_define_it() -> None:
    message = night(dataset("log", band="r"))
    message.dimension_records += [
        record("physical_filter", name="g_6", band="g"),
        record("physical_filter", name="r_03", band="r"),
    ]
    released = selector(RULES).select(message, 0).release
    assert names(released.dimension_records) == {
        ("instrument", "TestCam"),
        ("physical_filter", "r_57"),
        ("physical_filter", "r_03"),
    }


def test_records_of_elements_that_the_repository_lacks_stay_behind() -> None:
    message = night(dataset("log", visit=1))
    message.dimension_records.append({"definition": "moon", "record": {"phase": 1}})
    released = selector(RULES).select(message, 0).release
    assert names(released.dimension_records) == FIXED | of_visit(1)


def test_only_the_types_of_what_is_released_are_told() -> None:
    kinds: list[dict[str, Any]] = [
        {"name": name, "dimensions": []} for name in ("image", "log", "secret")
    ]
    message = night(dataset("image", visit=1), dataset("log"), dataset_types=kinds)
    assert selector(RULES).select(message, 0).release.dataset_types == [kinds[1]]
    assert selector(RULES).select(message, DUE).release.dataset_types == kinds[:2]


def test_chains_are_told_only_with_a_dataset() -> None:
    message = night(dataset("image", visit=1), chains=["c"])
    assert selector(RULES).select(message, DUE - 1).release.chains is None
    assert selector(RULES).select(message, DUE).release.chains == ["c"]


# Rules for records

HELD_VISITS = RULES + "- dimension_records: [visit]\n  embargo_hours: 100\n"
VISIT_DUE = EVENING + 100 * HOUR


@pytest.mark.parametrize("name", ["image", "catalogue"])
def test_a_rule_for_records_holds_what_needs_them(name: str) -> None:
    message = night(
        dataset(name, visit=1, detector=3),
        dataset("log", exposure=1),
        dataset("log", group=group_of(1)),
    )
    before = selector(HELD_VISITS).select(message, VISIT_DUE - 1)
    assert before.release.datasets == message.datasets[1:]
    assert before.waiting == {VISIT_DUE: {name: 1}}
    assert not any("visit" in given["definition"] for given in before.release.dimension_records)
    after = selector(HELD_VISITS).select(message, VISIT_DUE)
    assert after.release.datasets == message.datasets


def test_the_later_of_both_embargoes_counts() -> None:
    text = RULES + "- dimension_records: [visit]\n  embargo_hours: 10\n"
    message = night(dataset("image", visit=1), dataset("catalogue", visit=1))
    assert selector(text).select(message, 0).waiting == {
        DUE: {"image": 1},
        EVENING + 10 * HOUR: {"catalogue": 1},
    }


@pytest.mark.parametrize(
    ("element", "held"),
    [
        ("visit", {"visit"}),
        ("visit_detector_region", {"visit"}),
        ("visit_definition", {"visit"}),
        ("exposure", {"visit", "exposure"}),
        ("group", {"visit", "exposure", "group"}),
    ],
)
def test_records_of_an_observation_are_held_until_it_is_due(element: str, held: set[str]) -> None:
    text = RULES + f"- dimension_records: [{element}]\n  embargo_hours: 100\n"
    values: dict[str, Any] = {"visit": 1, "exposure": 1, "group": group_of(1)}
    for name, value in values.items():
        data_id = {name: value}
        message = night(dataset("log", detector=3, **data_id))
        found = selector(text).select(message, VISIT_DUE - 1)
        assert found.waiting == ({VISIT_DUE: {"log": 1}} if name in held else {}), name
        assert selector(text).select(message, VISIT_DUE).release.datasets == message.datasets


def test_records_of_a_night_are_held_until_its_end_is_due() -> None:
    text = RULES + "- dimension_records: [day_obs]\n  embargo_hours: 100\n"
    message = night(dataset("log", visit=1), dataset("log"))
    found = selector(text).select(message, 0)
    assert found.waiting == {VISIT_DUE + 10 * HOUR: {"log": 1}}


def test_a_record_without_a_time_holds_what_needs_it() -> None:
    message = night(dataset("catalogue", visit=1), span=[0, NO_END])
    found = selector(HELD_VISITS).select(message, LATER)
    assert found.held == {HoldReason.UNBOUNDED_TIMESPAN: {"catalogue": 1}}
    message = night(dataset("catalogue", visit=9))
    found = selector(HELD_VISITS).select(message, LATER)
    assert found.held == {HoldReason.NO_RECORD: {"catalogue": 1}}


# Repeats


def test_what_was_due_before_is_left_out() -> None:
    message = night(
        dataset("catalogue", visit=1),
        dataset("image", visit=1),
    )
    found = selector(RULES).select(message, LATER, since=DUE)
    assert found.release.datasets == message.datasets[1:]
    assert selector(RULES).select(message, LATER, since=DUE + 1).release == Release()


def test_an_earlier_time_releases_less_again() -> None:
    select = selector(RULES).select
    message = night(dataset("image", visit=1))
    assert select(message, DUE).release.datasets == message.datasets
    assert select(message, DUE - SECOND).release == Release()


# What is not a message of the product log


@pytest.mark.parametrize(
    "broken",
    [
        {"datasets": [{"path": "a"}]},
        {"datasets": [{"refs": ref("log")}]},
        {"datasets": [{"refs": ref("log"), "path": []}]},
        {"datasets": [{"refs": {}, "path": "a"}]},
        {"datasets": [{"refs": [1], "path": "a"}]},
        {"datasets": [artifact({"id": {"run": "r", "data_id": {}}})]},
        {"datasets": [artifact({"id": {"dataset_type_name": "log", "run": "r", "data_id": 1}})]},
        {"datasets": [dataset("log", visit=[1])]},
        {"datasets": [dataset("log", visit={"a": 1})]},
        {"datasets": [artifact({"i": {"dataset_type_name": 1, "run": "r", "data_id": {}}})]},
        {"datasets": 1},
        {"datasets": None},
        {"dimension_records": [{"definition": "visit"}]},
        {"dimension_records": [{"record": {}}]},
        {"dimension_records": [{"definition": "visit", "record": []}]},
        {"dimension_records": [record("visit", id=[1])]},
        {"dimension_records": [{"definition": ["visit"], "record": {}}]},
        {"dimension_records": [record("exposure", id=1, group={})]},
        {"dimension_records": [{"definition": "exposure", "record": {}}]},
        {"dimension_records": None},
        {"dataset_types": [{}], "datasets": [dataset("log")]},
        {"dataset_types": 1, "datasets": [dataset("log")]},
    ],
)
def test_what_has_another_shape_is_an_invalid_event(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidEventError, match="not the shape of a message of the product log"):
        selector(RULES).select(Message(**broken), 0)
