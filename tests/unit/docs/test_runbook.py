"""The runbook is complete, and what it names exists."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.worker import CHECKOUT
from tests.support.monitoring import alert_names, panels
from tests.support.runbook import (
    FOR_CLUSTERS,
    RUNBOOK,
    RunbookCommand,
    anchors,
    runbook_commands,
    table_of,
)

TEXT = RUNBOOK.read_text()

#: What a line may start with. Lines of `faust` are executed by tests/integration/docs.
PROGRAMS = {"kubectl", "psql", "amtool"}

LEVELS = {"info", "warning", "error", "critical"}


def log_lines() -> Iterator[tuple[str, str]]:
    """Return level and text of each log line that the source can write with a fixed text."""
    for folder in ("agents", "app", "models"):
        for module in (CHECKOUT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(module.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in LEVELS
                    and node.args
                    and isinstance(node.args[0], ast.Constant)
                ):
                    yield node.func.attr, str(node.args[0].value)


def test_every_critical_log_line_is_listed_with_its_alert() -> None:
    rows = table_of("Log lines")
    critical = {text for level, text in log_lines() if level == "critical"}
    assert sorted(row[0].strip("`") for row in rows) == sorted(critical)
    assert {row[1].strip("`") for row in rows} <= {*alert_names(), "none"}


def test_a_critical_log_line_has_a_fixed_text() -> None:
    calls = sum(
        len(re.findall(r"logger\.critical\(", module.read_text()))
        for folder in ("agents", "app", "models")
        for module in (CHECKOUT / folder).rglob("*.py")
    )
    assert calls == sum(level == "critical" for level, _ in log_lines())


def test_log_lines_that_it_searches_for_exist() -> None:
    texts = [f'"event": "{text}"' for _, text in log_lines()]
    searched = [
        pattern
        for command in runbook_commands()
        if command.text.startswith("kubectl logs")
        for pattern in re.findall(r"grep (?:-\w+ )?'([^']+)'", command.text)
        if '"level"' not in pattern
    ]
    assert len(searched) >= 4
    for pattern in searched:
        assert any(re.search(pattern, text) for text in texts), pattern


@pytest.mark.parametrize("alert", alert_names())
def test_an_alert_has_its_meaning_and_what_to_look_at_to_do_and_to_verify(alert: str) -> None:
    section = TEXT.split(f"### {alert}\n", 1)[1].split("\n#", 1)[0]
    assert re.findall(r"^\*\*(\w+)\.\*\*", section, re.MULTILINE) == [
        "Means",
        "Look",
        "Do",
        "Verify",
    ]


@pytest.mark.parametrize("document", FOR_CLUSTERS, ids=lambda document: document.name)
def test_links_lead_to_headings_and_documents(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        other, _, anchor = target.partition("#")
        path = document.parent / other if other else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_panels_that_it_names_exist() -> None:
    titles = {panel["title"] for panel in panels()}
    text = " ".join(TEXT.split())
    named = re.findall(r"\bpanels? ((?:\*[^*]+\*(?: and )?)+)", text)
    found = {title for names in named for title in re.findall(r"\*([^*]+)\*", names)}
    assert found
    assert found <= titles


def test_alerts_that_it_names_exist() -> None:
    assert set(re.findall(r"ButlerWriter[A-Z]\w+", TEXT)) == set(alert_names())
    silences = [each.text for each in runbook_commands() if each.text.startswith("amtool")]
    (pattern,) = re.findall(r'alertname=~"([^"]+)"', " ".join(silences))
    work, alerts = table_of("Planned work")[0]
    assert work == "the database"
    silenced = {name for name in alert_names() if re.fullmatch(pattern, name)}
    assert silenced == set(re.findall(r"`(\w+)`", alerts))


@pytest.mark.parametrize("command", runbook_commands(), ids=lambda command: command.text[:60])
def test_a_command_is_one_line_of_a_known_program(command: RunbookCommand) -> None:
    words = shlex.split(command.text)
    assert words[0] in PROGRAMS
    if words[0] == "kubectl":
        named = [word for word in words if word.startswith("statefulset/") or "-service" in word]
        assert all("butler-writer-service" in word for word in named)
    if "faust" in words:
        assert command.in_container is not None
        given = [word for word in words if word != "--json"]
        assert given[4:7] == ["faust", "-A", "app"]
