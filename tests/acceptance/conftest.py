"""A laboratory for each scenario, and the figures of all scenarios at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import Cluster
from tests.acceptance.laboratory import Laboratory
from tests.support.deployment import Deployment

_FIGURES = "figures"
_TOTALS = ("sent", "written", "dead", "lost", "twice")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", type=Path, help="file to write the scenarios' figures to")
    parser.addoption("--hostile", type=Path, help="document to write the hostile lines into")
    parser.addoption("--minutes", type=float, default=15.0, help="duration of the soak")
    parser.addoption("--lanes", type=int, help="BUTLER_WRITER_LANES of the workers")
    parser.addoption("--seed", type=int, help="seed of the soak's faults")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the scenarios, so that `make acceptance` selects them and every other slow test."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.scenario)


@pytest.fixture
def make_laboratory(
    request: pytest.FixtureRequest, topic_name: str, tmp_path: Path
) -> Iterator[Callable[..., Laboratory]]:
    """Return a function that makes a laboratory, on the shared servers or on given ones."""
    started = time.monotonic()
    made: list[Laboratory] = []
    with ExitStack() as stack:

        def make(
            *,
            kafka: Cluster | None = None,
            database: str | None = None,
            seed: int = 1,
            **more: Any,
        ) -> Laboratory:
            deployment = Deployment(
                kafka or request.getfixturevalue("kafka"),
                topic_name,
                tmp_path,
                database=database or request.getfixturevalue("postgresql_url"),
                **{"partitions": 2, **more},
            )
            if lanes := request.config.getoption("--lanes"):
                deployment.settings["BUTLER_WRITER_LANES"] = str(lanes)
            made.append(stack.enter_context(Laboratory(deployment, seed)))
            return made[-1]

        yield make
    for laboratory in made:
        if laboratory.tally is not None:
            name = request.node.name.removeprefix("test_").replace("_", " ")
            name = name.replace("[", ": ").removesuffix("]")
            seconds = round(time.monotonic() - started, 1)
            # On the report, so that it reaches the main process of a run with several processes.
            row = {**asdict(laboratory.tally), "seconds": seconds}
            request.node.user_properties.append((_FIGURES, {name: row}))


@pytest.fixture
def laboratory(make_laboratory: Callable[..., Laboratory]) -> Laboratory:
    """A laboratory on the shared servers."""
    return make_laboratory()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the totals of all scenarios in one line."""
    reports = [r for several in terminalreporter.stats.values() for r in several]
    rows_by_name: dict[str, dict[str, Any]] = {}
    for report in reports:
        for name, rows in getattr(report, "user_properties", []):
            rows_by_name |= rows if name == _FIGURES else {}
    if not rows_by_name:
        return
    totals = {name: sum(int(row[name]) for row in rows_by_name.values()) for name in _TOTALS}
    figures = " ".join(f"{name}={total}" for name, total in totals.items())
    terminalreporter.write_line(f"scenarios={len(rows_by_name)} {figures}")
    if path := config.getoption("--figures", default=None):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(rows_by_name, indent=2) + "\n")
