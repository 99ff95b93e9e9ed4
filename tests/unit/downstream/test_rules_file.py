"""The file of release rules: what is accepted, and where an error is."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.downstream.rules import Rules
from app.downstream.rules_file import parse_rules, read_rules
from app.downstream.yaml_nodes import RulesError
from testbed.worker import CHECKOUT
from tests.unit.downstream.messages import HOUR, rules, universe

EXAMPLE = CHECKOUT / "deploy" / "downstream" / "rules-example.yaml"

#: Files that cannot be used: name, content, line and column of the error, and a part of it.
WRONG = [
    ("empty", "", "", "it is empty"),
    ("comments", "# nothing\n", "", "it is empty"),
    ("no-rules", "[]\n", "1:1", "nothing would be released"),
    ("only-records", "- dimension_records: [visit]\n  embargo_hours: 1", "1:1", "nothing would be"),
    ("mapping", "rules:\n- exclude: true\n", "1:1", "not a list of rules"),
    ("scalar", "80\n", "1:1", "not a list of rules"),
    ("rule-is-text", "- raw\n", "1:3", "'raw' is not a rule"),
    ("rule-is-list", "- [raw]\n", "1:3", "a list is not a rule"),
    ("rule-is-null", "-\n", "1:2", "is not a rule"),
    (
        "unknown-key",
        "- dataset_types: [raw]\n  embargo_hour: 80\n",
        "2:3",
        "unknown key 'embargo_hour': the keys are dataset_types,",
    ),
    ("list-as-key", "- ? [raw]\n  : 1\n", "1:5", "unknown key a list"),
    ("merge-key", "- <<: {exclude: true}\n", "1:3", "unknown key '<<'"),
    (
        "twice",
        "- dataset_types: [raw]\n  exclude: true\n  dataset_types: [dark]\n",
        "3:3",
        "dataset_types is there twice",
    ),
    ("name-not-in-list", "- dataset_types: raw\n  exclude: true", "1:18", "must be a list"),
    ("no-names", "- dataset_types: []\n  exclude: true", "1:18", "must be a list"),
    ("null-names", "- dataset_types:\n  exclude: true", "1:17", "must be a list"),
    ("number-as-name", "- runs: [2026]\n  exclude: true", "1:10", "'2026' is not a name"),
    ("yes-as-name", "- dataset_types: [yes]\n  exclude: true", "1:19", "'yes' is not a name"),
    ("list-as-name", "- origins: [[a]]\n  exclude: true", "1:13", "a list is not a name"),
    ("empty-name", "- origins: ['']\n  exclude: true", "1:13", "matches no name"),
    ("two-names", "- origins: [a b]\n  exclude: true", "1:13", "matches no name"),
    ("block-name", "- origins:\n  - |\n    a\n  exclude: true", "2:5", "matches no name"),
    ("glob-as-alias", "- dataset_types: [*_image]\n  exclude: true", "1:19", '"*_image"'),
    ("anchor", "- &a\n  exclude: true", "1:3", "an anchor"),
    ("tag", "- dataset_types: [!raw x]\n", "1:19", "a tag"),
    ("python-tag", "- !!python/object:os.system x\n", "1:3", "a tag"),
    ("no-condition", "- embargo_hours: 0\n", "1:3", 'add dataset_types: ["*"]'),
    ("no-action", "- dataset_types: [raw]\n", "1:3", "either embargo_hours or exclude"),
    (
        "two-actions",
        "- dataset_types: [raw]\n  exclude: true\n  embargo_hours: 1\n",
        "1:3",
        "either embargo_hours or exclude",
    ),
    ("exclude-false", "- runs: [a]\n  exclude: false\n", "2:12", "can only be true"),
    ("exclude-yes", "- runs: [a]\n  exclude: yes\n", "2:12", "can only be true"),
    ("exclude-quoted", "- runs: [a]\n  exclude: 'true'\n", "2:12", "can only be true"),
    ("sky", "- can_see_sky: true\n  exclude: true\n", "1:16", "can only be false"),
    ("sky-no", "- can_see_sky: no\n  exclude: true\n", "1:16", "can only be false"),
    (
        "records-and-types",
        "- dimension_records: [visit]\n  dataset_types: [raw]\n  embargo_hours: 1\n",
        "2:18",
        "dataset_types does not go with dimension_records",
    ),
    (
        "records-excluded",
        "- dimension_records: [visit]\n  exclude: true\n",
        "2:12",
        "exclude does not go with dimension_records",
    ),
    ("records-for-ever", "- dimension_records: [visit]\n", "1:3", "needs embargo_hours"),
    (
        "unknown-records",
        "- dimension_records: [exposure, vist]\n  embargo_hours: 1\n",
        "1:33",
        "'vist' is no dimension element with a time: use one of day_obs, exposure, group, visit",
    ),
    (
        "records-without-time",
        "- dimension_records: [detector]\n  embargo_hours: 1\n",
        "1:23",
        "'detector' is no dimension element with a time",
    ),
    (
        "never-reached",
        '- dataset_types: ["*"]\n  embargo_hours: 80\n- runs: [a]\n  exclude: true\n',
        "3:3",
        "never reached, since the rule in line 1 is for every dataset",
    ),
    ("tab", "- dataset_types: [raw]\n\texclude: true\n", "2:1", "use spaces instead of tabs"),
    ("open-quote", '- dataset_types: ["raw]\n', "2:1", "not YAML"),
    ("open-list", "- dataset_types: [raw\n", "2:1", "not YAML"),
    ("indentation", "- runs: [a]\n exclude: true\n", "2:2", "not YAML"),
    ("two-documents", "- runs: [a]\n  exclude: true\n---\n- a\n", "3:1", "not YAML"),
    ("control-character", "- runs: [a]\n  exclude: \x07\n", "2:12", "a control character"),
    ("deep", "- " + "[" * 5000 + "\n", "1:10", "more than 8 levels"),
    ("large", "#" * 70_000, "", "more than 65536 bytes"),
]

#: What is no number of hours.
NO_HOURS = [
    "-1",
    "-0.5",
    "+1",
    "010",
    "0x10",
    "0o7",
    "1e3",
    "80_0",
    "80:00",
    ".5",
    "1.",
    "1,5",
    ".inf",
    "-.inf",
    ".nan",
    "NaN",
    "~",
    "true",
    "'80'",
    '"80"',
    "eighty",
    "[80]",
    "{a: 1}",
    "876001",
    "9" * 400,
    "\N{ARABIC-INDIC DIGIT EIGHT}",
]


@pytest.mark.parametrize(
    ("text", "where", "problem"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_an_error_names_file_line_and_column(text: str, where: str, problem: str) -> None:
    with pytest.raises(RulesError) as caught:
        rules(text)
    message = str(caught.value)
    assert message.startswith(f"rules.yaml:{where}: " if where else "rules.yaml: ")
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize("hours", NO_HOURS)
def test_what_is_no_number_of_hours_is_refused(hours: str) -> None:
    """YAML would make 8 of ``010``, and 4,800 of ``80:00``."""
    with pytest.raises(RulesError, match=r"^rules.yaml:2:18: embargo_hours is .*: write a number"):
        rules(f"- dataset_types: [raw]\n  embargo_hours: {hours}\n")


@pytest.mark.parametrize(
    ("hours", "nanoseconds"),
    [
        ("0", 0),
        ("80", 80 * HOUR),
        ("0.5", HOUR // 2),
        ("876000", 876_000 * HOUR),
        ("0.000000001", 3600),
        ("80.0", 80 * HOUR),
    ],
)
def test_hours_are_exact(hours: str, nanoseconds: int) -> None:
    (rule,) = rules(f"- dataset_types: [raw]\n  embargo_hours: {hours}\n").for_datasets
    assert rule.embargo == nanoseconds


def test_a_file_that_is_not_utf_8_is_refused_where_it_is_not() -> None:
    with pytest.raises(RulesError, match=r"^a.yaml:2:3: not UTF-8"):
        parse_rules(b"# ok\n# \xff", "a.yaml", universe())


def test_a_byte_order_mark_and_windows_line_ends_are_accepted() -> None:
    found = parse_rules(b"\xef\xbb\xbf- runs: [a]\r\n  exclude: true\r\n", "a.yaml", universe())
    assert found.for_datasets[0].runs.patterns == ("a",)


def test_a_file_of_nested_aliases_is_refused_at_the_first_one() -> None:
    bomb = "- &a [x, x]\n" + "".join(f"- &{b} [*{a}, *{a}]\n" for a, b in pairwise("abcdefg"))
    with pytest.raises(RulesError, match=r"^rules.yaml:1:3: an anchor"):
        rules(bomb)


def test_a_missing_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "rules.yaml"
    with pytest.raises(RulesError, match=r"cannot be read .No such file or directory.: check path"):
        read_rules(missing, universe())
    with pytest.raises(RulesError, match=r"cannot be read .Is a directory."):
        read_rules(tmp_path, universe())


def test_a_rule_knows_its_line() -> None:
    found = rules(
        "# first\n- runs: [a]\n  exclude: true\n\n"
        "- dimension_records: [visit]\n  embargo_hours: 1\n"
    )
    assert [rule.line for rule in found.for_datasets] == [2]
    assert [rule.line for rule in found.for_records] == [5]


TEXTS = st.text() | st.text(st.sampled_from("-: []{}*&!'\"\n\t,#|>0a"), max_size=40)


@given(TEXTS.map(str.encode) | st.binary(max_size=200))
def test_any_file_is_rules_or_an_error_of_one_line(content: bytes) -> None:
    found = outcome(content)
    assert isinstance(found, Rules) or re.fullmatch(r"rules\.yaml(:\d+:\d+)?: .+", found)


def outcome(content: bytes) -> Rules | str:
    """Return the rules of a file, or the text of the error."""
    try:
        return parse_rules(content, "rules.yaml", universe())
    except RulesError as exc:
        return str(exc)


@pytest.mark.parametrize(
    ("dataset_type", "hours"),
    [
        ("preliminary_visit_image", 80),
        ("preliminary_visit_image_background", 80),
        ("difference_image", 80),
        ("template_detector", 80),
        ("difference_image_metrics", 0),
        ("dia_source_detector", 0),
        ("dia_source_schema", 0),
        ("new_dia_source", 0),
        ("single_visit_star_unstandardized", 0),
        ("preloaded_dia_object", 0),
        ("calibrateImage_config", 0),
        ("calibrateImage_log", 0),
        ("calibrateImage_metadata", 0),
        ("calibrateImage_metadata_metrics", 0),
        ("packages", 0),
        ("raw", None),
        ("post_isr_image", None),
        ("difference_image_predetection", None),
    ],
)
def test_the_example_holds_pixels_for_80_hours(dataset_type: str, hours: int | None) -> None:
    found = read_rules(EXAMPLE, universe())
    rule = found.of_dataset(dataset_type, "run", "prompt_processing", sees_sky=True)
    assert rule is not None
    assert rule.embargo == (None if hours is None else hours * HOUR)
    assert found.longest_embargo == 80 * HOUR


def test_the_example_has_no_rule_for_what_it_does_not_name() -> None:
    found = read_rules(EXAMPLE, universe())
    assert found.of_dataset("template_coadd", "run", "prompt_processing", sees_sky=True) is None
