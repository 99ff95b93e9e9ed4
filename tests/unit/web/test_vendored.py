"""The files of other projects are those that VENDORED.md names."""

from __future__ import annotations

import hashlib
import re

from app.web.rendering import STATIC

ROW = re.compile(
    r"^\| `([^`]+)` \| .* \| [\d.]+ \| [^|]+, `([^`]+)` \| `([0-9a-f]{128})` \|$", re.MULTILINE
)

#: What is our own.
OURS = {
    "VENDORED.md",
    "charts.js",
    "icon.svg",
    "overview-chart.js",
    "pages.css",
    "pages.js",
    "windows-chart.js",
}


def test_each_file_of_another_project_is_the_one_that_is_named() -> None:
    rows = ROW.findall((STATIC / "VENDORED.md").read_text())
    assert rows
    for name, licence, digest in rows:
        assert hashlib.sha512((STATIC / name).read_bytes()).hexdigest() == digest, name
        assert (STATIC / licence).is_file()
    named = {name for name, _, _ in rows} | {licence for _, licence, _ in rows}
    assert {file.name for file in STATIC.iterdir()} == named | OURS
