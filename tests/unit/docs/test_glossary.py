"""docs/glossary.md names code that exists."""

from __future__ import annotations

import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

from testbed.worker import CHECKOUT

GLOSSARY = CHECKOUT / "docs" / "glossary.md"

PACKAGES = "agents|app|butler_writer_client|models"

#: Words that no name, message or document may contain.
FORBIDDEN = ("poison", "wanted")

NAMES = sorted({*re.findall(rf"`((?:{PACKAGES})(?:\.\w+)*)`", GLOSSARY.read_text())})


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_the_glossary_exists(name: str) -> None:
    resolve_name(name)


def test_no_name_has_a_word_that_the_glossary_forbids() -> None:
    folders = (
        "agents",
        "app",
        "bench",
        "client",
        "docs",
        "models",
        "simulator",
        "testbed",
        "tests",
    )
    files = {
        path
        for folder in folders
        for suffix in ("py", "md")
        for path in (CHECKOUT / folder).rglob(f"*.{suffix}")
    }
    expression = re.compile("|".join(FORBIDDEN), re.IGNORECASE)
    others = files - {GLOSSARY, Path(__file__)}
    assert [str(file) for file in others if expression.search(file.read_text())] == []
