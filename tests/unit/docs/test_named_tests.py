"""Tests that the documents name exist."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]


def test_every_test_that_a_document_names_exists() -> None:
    sources = "\n".join(path.read_text() for path in (CHECKOUT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"def (test_\w+)\(", sources))
    documents = [*(CHECKOUT / "docs").glob("*.md"), *CHECKOUT.glob("*.md")]
    named = {
        f"{path.name}: {name}"
        for path in documents
        for name in re.findall(r"`(test_\w+)`", path.read_text())
        if name not in defined
    }
    assert named == set()
