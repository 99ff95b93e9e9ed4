"""docs/dead-letters.md lists what this service refuses and the deployed one accepts."""

from __future__ import annotations

from pathlib import Path

from tests.support.mutations import MUTATIONS, REFUSED

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "dead-letters.md"


def test_every_known_difference_is_documented_with_its_reason() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    for name, words in REFUSED.items():
        assert name in MUTATIONS
        assert any(words in row.split(" | ")[0] for row in rows), name
