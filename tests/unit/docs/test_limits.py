"""docs/limits.md lists every limit on an event, with its default."""

from __future__ import annotations

import re
from pathlib import Path

from app.butler.events.limits import EventLimits

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "limits.md"


def test_the_documented_limits_are_those_of_the_service() -> None:
    rows = re.findall(
        r"^\| `BUTLER_WRITER_(\w+)` \| (\d+) \| (.+) \| (.+) \| (.+) \|$",
        DOCUMENT.read_text(),
        flags=re.MULTILINE,
    )
    assert [(name.lower(), int(default)) for name, default, *_ in rows] == list(EventLimits())
