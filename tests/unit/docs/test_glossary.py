"""docs/glossary.md names code that exists."""

from __future__ import annotations

import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

GLOSSARY = Path(__file__).resolve().parents[3] / "docs" / "glossary.md"

PACKAGES = "agents|app|butler_writer_client|models"

NAMES = sorted({*re.findall(rf"`((?:{PACKAGES})(?:\.\w+)*)`", GLOSSARY.read_text())})


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_the_glossary_exists(name: str) -> None:
    resolve_name(name)
