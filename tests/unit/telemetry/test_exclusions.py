"""Each dataset type without a rule is named once, and its datasets are counted."""

from __future__ import annotations

from structlog.testing import capture_logs

from app.downstream.selection import Exclusion
from app.telemetry.exclusions import Exclusions


def test_a_type_that_was_named_before_a_restart_is_named_again_once() -> None:
    exclusions = Exclusions()
    with capture_logs() as logs:
        for _ in range(2):
            exclusions.name(["a", "b"])
            exclusions.add({Exclusion.NO_RULE: {"b": 2, "c": 1}, Exclusion.BY_RULE: {"d": 1}})
    assert [line["dataset_type"] for line in logs] == ["a", "b", "c"]
    assert dict(exclusions.without_rule) == {"a": 0, "b": 4, "c": 2}
