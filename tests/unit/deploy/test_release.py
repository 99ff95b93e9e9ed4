"""A release has one version: that of ``pyproject.toml``, the tag, the client and the changelog."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.installation import own_version
from testbed.worker import CHECKOUT


class Checkout:
    """A copy of the files that a release is about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in (
            "pyproject.toml",
            "client/pyproject.toml",
            "CHANGELOG.md",
            "deploy/release.py",
            "docs/releases.md",
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name)
        shutil.copytree(CHECKOUT / "changelog.d", folder / "changelog.d")
        (folder / "changelog.d/20990101_000000_last.md").write_text("### Added\n\n- A change.\n")

    def raise_version(self, *files: str) -> None:
        for name in files:
            text, count = re.subn(
                r'(?m)^version = "[\d.]+"', 'version = "99.0.0"', (self.folder / name).read_text()
            )
            assert count == 1
            (self.folder / name).write_text(text)

    def collect(self) -> None:
        """Do what ``make changelog`` does."""
        scriv = Path(sys.executable).with_name("scriv")
        subprocess.run([scriv, "collect"], cwd=self.folder, capture_output=True, check=True)

    def check(self, *tag: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, self.folder / "deploy/release.py", *tag],
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_everything_names_the_version_of_the_service() -> None:
    done = subprocess.run(
        [sys.executable, CHECKOUT / "deploy/release.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{own_version()}\n", "")


def test_a_release_is_complete_once_versions_are_raised_and_the_changelog_is_made(
    checkout: Checkout,
) -> None:
    fragments = [*(checkout.folder / "changelog.d").glob("[0-9]*.md")]
    checkout.raise_version("pyproject.toml")
    assert checkout.check().stderr == (
        f"client/pyproject.toml has the version {own_version()}, and pyproject.toml 99.0.0\n"
    )
    checkout.raise_version("client/pyproject.toml")
    with (checkout.folder / "docs/releases.md").open("a") as table:
        table.write("| 99.0.0 | the same |\n")
    assert checkout.check("v99.0.0").stderr == (
        "CHANGELOG.md does not have 99.0.0: run make changelog\n"
        f"changelog.d has {len(fragments)} fragments: run make changelog\n"
    )

    checkout.collect()

    done = checkout.check("v99.0.0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "99.0.0\n", "")
    wrong = checkout.check("v99.0.1")
    assert wrong.returncode == 1
    assert wrong.stderr == (
        "the tag is v99.0.1, and pyproject.toml has the version 99.0.0: tag v99.0.0\n"
    )


def test_a_chart_for_another_version_is_named(checkout: Checkout) -> None:
    chart = checkout.folder / "deploy/helm/one/Chart.yaml"
    chart.parent.mkdir(parents=True)
    own = own_version()
    chart.write_text(f'version: {own}\nappVersion: "{own}"\n')
    assert checkout.check().returncode == 0
    chart.write_text('version: 1.0.0\nappVersion: "0.0.1"\n')
    assert checkout.check().stderr == (
        f"deploy/helm/one/Chart.yaml does not have version: {own}\n"
        f"deploy/helm/one/Chart.yaml does not have appVersion: {own}\n"
    )


def test_a_version_that_the_table_does_not_have_is_named(checkout: Checkout) -> None:
    checkout.raise_version("pyproject.toml", "client/pyproject.toml")
    assert (
        "the table of docs/releases.md does not have 99.0.0: add a line\n"
        in checkout.check("v99.0.0").stderr
    )
