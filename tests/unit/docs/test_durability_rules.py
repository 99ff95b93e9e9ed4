"""docs/durability.md describes every rule that is cited, and names tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
DOCUMENT = CHECKOUT / "docs" / "durability.md"

FOLDERS = (
    "agents",
    "app",
    "bench",
    "client",
    "deploy",
    "docs",
    "models",
    "simulator",
    "testbed",
    "tests",
)
SUFFIXES = {".md", ".py", ".sh", ".sql", ".toml", ".yaml", ".yml"}

NAME = r"[a-z0-9]+(?:-[a-z0-9]+)+"
CITATION = re.compile(rf"\brules? ({NAME}(?:(?:,| and|, and) {NAME})*)")


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def rules_of(document: str) -> dict[str, str]:
    """Return the section of each rule, by its anchor."""
    _, *sections = re.split(r"^## ", document, flags=re.MULTILINE)
    return {anchor(section.partition("\n")[0]): section for section in sections}


def cited_in(text: str) -> set[str]:
    """Return the rules that a text cites; a citation may go on in the next line of a comment."""
    one_line = re.sub(r"\s*\n[ \t]*(?:#:?[ \t]*)?", " ", text)
    return {name for found in CITATION.findall(one_line) for name in re.findall(NAME, found)}


def files() -> Iterator[Path]:
    """Yield the files in which a rule may be cited."""
    for folder in FOLDERS:
        yield from (p for p in (CHECKOUT / folder).rglob("*") if p.suffix in SUFFIXES)
    yield from (p for p in CHECKOUT.iterdir() if p.suffix in SUFFIXES or p.name == "Makefile")


def defined_in(path: str) -> set[str]:
    """Return the names of the tests that a file defines, with their class if they have one."""
    names: set[str] = set()
    for node in ast.parse((CHECKOUT / path).read_text()).body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{n.name}" for n in node.body if _is_function(n)}  # type: ignore[attr-defined]
        elif _is_function(node):
            names.add(node.name)  # type: ignore[attr-defined]
    return names


def _is_function(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


RULES = rules_of(DOCUMENT.read_text())


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("a (rule bounded-memory)", {"bounded-memory"}),
        ("a (rules bounded-memory, stuck-workers-end)", {"bounded-memory", "stuck-workers-end"}),
        ("a (rule\n        bounded-memory)", {"bounded-memory"}),
        ("    # a (rule\n    # bounded-memory)", {"bounded-memory"}),
        ("noqa: BLE001 - rule bounded-memory", {"bounded-memory"}),
        ("the rule of thumb; rules follow", set()),
    ],
)
def test_a_citation_is_found(text: str, cited: set[str]) -> None:
    assert cited_in(text) == cited


def test_every_cited_rule_is_described() -> None:
    cited = {
        f"{path.relative_to(CHECKOUT)}: {name}"
        for path in files()
        if path != Path(__file__).resolve()
        for name in cited_in(path.read_text())
        if name not in RULES
    }
    assert cited == set()


def test_the_rules_are_cited_in_code() -> None:
    code = (p for folder in ("agents", "app") for p in (CHECKOUT / folder).rglob("*.py"))
    assert set().union(*(cited_in(path.read_text()) for path in code)) & RULES.keys()


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_names_tests_that_exist(rule: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", RULES[rule])
    assert named, "a rule without a test"
    assert [f"{path}::{test}" for path, test in named if test not in defined_in(path)] == []
