"""Which rule a dataset has."""

from __future__ import annotations

import pytest

from tests.unit.downstream.messages import HOUR, rules

TEXT = """
- can_see_sky: false
  dataset_types: ["*_image"]
  embargo_hours: 0
- dataset_types: ["*_image", raw]
  runs: ["*/ApPipe/*"]
  embargo_hours: 80
- origins: [daytime]
  embargo_hours: 1
- dataset_types: [secret]
  exclude: true
- dataset_types: ["[ab]?"]
  embargo_hours: 2
"""


@pytest.mark.parametrize(
    ("dataset_type", "run", "origin", "sees_sky", "line"),
    [
        ("visit_image", "a/ApPipe/b", "pp", True, 5),
        ("visit_image", "a/ApPipe/b/c", "pp", True, 5),
        ("visit_image", "a/Isr/b", "pp", True, None),
        ("visit_image", "a/ApPipe/b", "pp", False, 2),
        ("visit_image", "a/Isr/b", "pp", False, 2),
        ("raw", "a/ApPipe/b", "pp", False, 5),
        ("Visit_Image", "a/ApPipe/b", "pp", True, None),
        ("VISIT_IMAGE", "a/ApPipe/b", "pp", True, None),
        ("my_visit_image_x", "a/ApPipe/b", "pp", True, None),
        ("secret", "a", "pp", True, 10),
        ("secret", "a", "daytime", True, 8),
        ("a1", "a", "pp", True, 12),
        ("c1", "a", "pp", True, None),
        ("a12", "a", "pp", True, None),
    ],
)
def test_the_first_rule_counts_of_which_all_conditions_match(
    dataset_type: str, run: str, origin: str, sees_sky: bool, line: int | None
) -> None:
    rule = rules(TEXT).of_dataset(dataset_type, run, origin, sees_sky=sees_sky)
    assert (rule and rule.line) == line


def test_the_first_rule_for_records_counts() -> None:
    found = rules("""
- dimension_records: [visit]
  embargo_hours: 0
- dimension_records: [visit, exposure]
  embargo_hours: 80
- dataset_types: ["*"]
  embargo_hours: 1
""")
    assert found.embargo_of_records("visit") == 0
    assert found.embargo_of_records("exposure") == 80 * HOUR
    assert found.embargo_of_records("detector") == 0


def test_the_longest_embargo_is_that_of_any_rule() -> None:
    assert rules(TEXT).longest_embargo == 80 * HOUR
    records = "- dimension_records: [visit]\n  embargo_hours: 100\n"
    assert rules(TEXT + records).longest_embargo == 100 * HOUR
    assert rules("- runs: [a]\n  exclude: true").longest_embargo == 0
