"""docs/dead-letters.md lists every cause of dead letters."""

from __future__ import annotations

import re
from pathlib import Path

from models.causes import Cause

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "dead-letters.md"


def test_the_documented_causes_are_those_of_the_service() -> None:
    _, section = DOCUMENT.read_text().split("## Causes\n")
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", section, flags=re.MULTILINE)
    assert [name for name, _, _ in rows] == [cause.value for cause in Cause]
    assert all(meaning.strip() and remedy.strip() for _, meaning, remedy in rows)
