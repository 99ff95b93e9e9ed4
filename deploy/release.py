"""Checks that everything names the version of `pyproject.toml`, and prints it.

With a tag, such as ``python deploy/release.py v0.1.0``, it also checks what a release needs: the
tag names the version, and the changelog has it.  The workflows run it; it needs only Python.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def version_of(project: Path) -> str:
    """Return the version that a ``pyproject.toml`` has."""
    return str(tomllib.loads(project.read_text())["project"]["version"])


def other_versions(version: str) -> Iterator[str]:
    """Yield what names another version: the client, or the chart, which has it twice."""
    client = "client/pyproject.toml"
    if (other := version_of(ROOT / client)) != version:
        yield f"{client} has the version {other}, and pyproject.toml {version}"
    for chart in ROOT.glob("deploy/helm/*/Chart.yaml"):
        keys = re.findall(r"""^(\w+): *["']?([^"'\s]*)""", chart.read_text(), re.MULTILINE)
        for key in ("version", "appVersion"):
            if dict(keys).get(key) != version:
                yield f"{chart.relative_to(ROOT)} does not have {key}: {version}"


def lacks(version: str, tag: str) -> Iterator[str]:
    """Yield what a release with a tag lacks."""
    if tag != f"v{version}":
        yield f"the tag is {tag}, and pyproject.toml has the version {version}: tag v{version}"
    if f"\n| {version} |" not in (ROOT / "docs/releases.md").read_text():
        yield f"the table of docs/releases.md does not have {version}: add a line"
    if f"\n## [{version}]" not in (ROOT / "CHANGELOG.md").read_text():
        yield f"CHANGELOG.md does not have {version}: run make changelog"
    if left := len([*(ROOT / "changelog.d").glob("[0-9]*.md")]):
        yield f"changelog.d has {left} fragments: run make changelog"


def main(tag: str = "") -> None:
    """Print the version; or else what is wrong, with exit code 1."""
    version = version_of(ROOT / "pyproject.toml")
    problems = [*other_versions(version), *(lacks(version, tag) if tag else ())]
    if problems:
        sys.exit("\n".join(problems))
    sys.stdout.write(f"{version}\n")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit("usage: release.py [TAG]")
    main(*sys.argv[1:])
