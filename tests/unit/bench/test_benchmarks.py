"""What the benchmarks calculate and report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import orjson
import pytest

from app.downstream.waiting import Due
from app.settings import DownstreamSettings
from bench import result as results
from bench.capacity import Costs, capacity
from bench.comparisons import waiting
from bench.measuring import alternate, median_ratio, quantile, spread
from bench.report import DOCUMENTS, closing, report, update_documents
from bench.result import Result, Table
from bench.workload import Workload, datasets_of
from simulator.night import Night
from testbed.document import insert

Documents: TypeAlias = Callable[[], list[str]]


def test_variants_alternate_and_every_second_round_runs_backwards() -> None:
    order: list[str] = []

    def run(name: str) -> float:
        order.append(name)
        return float(len(order))

    measured = alternate({name: lambda name=name: run(name) for name in "abc"}, 3)  # type: ignore[misc]
    assert "".join(order) == "abccbaabc"
    assert measured == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_a_ratio_is_the_ratio_of_medians() -> None:
    assert median_ratio([1, 100, 4], [2, 1, 3]) == 2


@pytest.mark.parametrize(("fraction", "value"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_a_quantile_is_one_of_the_values(fraction: float, value: float) -> None:
    assert quantile(list(range(100, 0, -1)), fraction) == value


def test_a_quantile_of_no_values_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_a_spread_is_shown_with_its_median() -> None:
    assert spread([0.5, 0.25, 123.4]) == "0.5 (0.25 - 123)"
    assert spread([0.12345]) == "0.123"


def test_a_text_replaces_only_what_is_between_its_markers() -> None:
    document = (
        "a\n<!-- one: begin -->\nold\n<!-- one: end -->\nb\n<!-- two: begin --><!-- two: end -->"
    )
    once = insert(document, "one", "new")
    assert once == document.replace("old", "new")
    assert insert(once, "one", "new") == once


def test_a_document_without_the_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="<!-- one: begin -->"):
        insert("<!-- one: end -->", "one", "new")


def test_raw_measurements_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    table = Table(["window", "seconds"])
    table.add("of 50", 0.5)
    kept = Result("windows", [table], {"ratio": 2.0}, {"runs": [1.0, 2.0]})
    assert orjson.loads(kept.save().read_bytes()) == dataclasses.asdict(kept)


def test_a_report_names_the_machine_and_does_not_change_other_sections() -> None:
    table = Table(["window", "seconds"])
    table.add("of 50", 0.5)
    document = (
        "<!-- windows: begin -->\n<!-- windows: end -->\n<!-- s3: begin -->\n<!-- s3: end -->"
    )
    written = report([Result("windows", [table], quick=True), Result("elsewhere")], document)
    assert "| window | seconds |\n| --- | ---: |\n| of 50 | 0.5 |" in written
    assert "`make bench-quick`" in written
    assert written.endswith("<!-- s3: begin -->\n<!-- s3: end -->")


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Documents:
    """Documents with thorough figures of ``s3`` and ``staging``, as a fresh clone has them."""
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    names = ("quick", "s3", "staging")
    empty = "".join(f"<!-- {name}: begin -->\n<!-- {name}: end -->\n" for name in names)
    before = report([Result(name, [seconds(f"{name} before")]) for name in names[1:]], empty)
    for document in DOCUMENTS:
        document.write_text(before)
    return lambda: [document.read_text() for document in DOCUMENTS]


def seconds(cell: str) -> Table:
    return Table(["seconds"], [[cell]])


def test_only_the_sections_of_what_was_measured_change(documents: Documents) -> None:
    Result("staging", [seconds("staging of an earlier run")]).save()
    update_documents([Result("s3", [seconds("s3 now")], {"seconds": 0.25})])
    for text in documents():
        assert "| s3 now |" in text
        assert "| s3 before |" not in text
        assert "| staging before |" in text
        assert "| `seconds` |" not in text


def test_quick_figures_do_not_replace_thorough_ones(documents: Documents) -> None:
    quick = Result("s3", [seconds("s3 now")], {"seconds": 0.25}, quick=True)
    update_documents([quick, closing([quick])])
    for text in documents():
        assert "| s3 before |" in text
        assert "| s3 now |" not in text
        assert "| `seconds` | 0.25 |" in text


def test_events_have_the_requested_number_of_datasets_and_existing_artifacts(
    tmp_path: Path,
) -> None:
    (tmp_path / "repository").mkdir()
    workload = Workload(tmp_path / "repository", 20)
    events = workload.events(1, 3)
    assert datasets_of(events) == 3 * 20
    assert len([*workload.root.rglob("*.json")]) == 3 * 20
    assert workload.events(1, 3) == events


def test_the_capacity_model_multiplies_costs_by_the_events_of_a_night() -> None:
    costs = Costs(
        seconds=0.02, worker_cpu=0.01, database_cpu=0.02, wal_bytes=2e5, message_bytes=1e5
    )
    night, ten = costs.needs(1), costs.needs(10)
    assert night["events per night"] == "189,000"
    assert night["a worker is busy"] == "11%"
    assert night["workers, each busy 50% at most"] == "1"
    assert ten["workers, each busy 50% at most"] == "3"
    assert ten["partitions"] == "6"
    assert night["WAL per night (GB)"] == "38"
    assert night["Kafka, one copy of two weeks (GB)"] == "265"


def test_the_capacity_model_needs_every_measurement() -> None:
    with pytest.raises(KeyError):
        capacity({"windows": Result("windows")})


@pytest.mark.parametrize("number", [20, 100])
def test_a_pod_can_have_any_number_of_datasets(number: int) -> None:
    types = Night(datasets=number).dataset_types
    assert len({kind.name for kind in types}) == len(types) == number
    assert types[:20] == Night().dataset_types[:20]


def test_entries_of_the_changelog_are_those_of_a_worker(tmp_path: Path) -> None:
    """Their rules are those of the worker's file, so that none is looked at again."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(waiting.RULES)
    found = [*waiting.entries(10, 20)]
    assert len({Due.from_key(orjson.loads(key)) for key, _ in found}) == 20
    assert not {key for key, _ in found} & {key for key, _ in waiting.entries(0, 10)}
    for _, value in found:
        state = orjson.loads(value)
        assert state["rules"] == DownstreamSettings(rules=rules).rules_id
        assert sum(state["datasets"].values()) == waiting.DATASETS_OF_AN_ENTRY
