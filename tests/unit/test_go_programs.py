"""Programs are built from Go modules whose content is known, and only once."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import go_programs
from testbed.availability import ServerUnavailableError
from testbed.go_programs import find_go_program

#: A stand-in for Go: it "downloads" a module, and "builds" the path that follows `-o`.
GO = """\
echo "$@" >> "{log}"
case "$1" in
mod) echo '{{"Dir": "{folder}", "Sum": "{checksum}"}}' ;;
build) while [ "$1" != -o ]; do shift; done; {build} ;;
esac
"""

BUILD = 'mkdir -p "${2%/*}"; echo built > "$2"'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first folder of ``PATH``, where Helm and Go are not; the cache is empty."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("BUTLER_WRITER_CACHE", str(tmp_path / "cache"))
    return tmp_path


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def go(folder: Path, checksum: str, build: str = BUILD) -> None:
    text = GO.format(log=folder / "log", folder=folder, checksum=checksum, build=build)
    program(folder, "go", text)


def test_a_program_of_the_machine_is_preferred(folder: Path) -> None:
    program(folder, "helm", "")
    assert find_go_program("helm") == folder / "helm"


def test_a_program_is_built_once(folder: Path) -> None:
    go(folder, go_programs._MODULES["helm"].checksum)
    found = find_go_program("helm")
    assert found.read_text() == "built\n"
    assert find_go_program("helm") == found
    calls = (folder / "log").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["mod", "build"]


def test_a_module_with_another_content_is_not_built(folder: Path) -> None:
    go(folder, "h1:another")
    with pytest.raises(ServerUnavailableError, match="checksum h1:another, and not h1:"):
        find_go_program("helm")
    assert "build" not in (folder / "log").read_text()
    assert not list((folder / "cache").glob("helm-*/"))


def test_the_reason_of_go_is_told(folder: Path) -> None:
    go(folder, go_programs._MODULES["helm"].checksum, "echo 'no such package' >&2; exit 1")
    with pytest.raises(ServerUnavailableError, match=r"go build -mod=readonly failed: no such"):
        find_go_program("helm")


def test_a_machine_without_go_is_told_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(ServerUnavailableError, match=r"without go .* put it into PATH"):
        find_go_program("helm")
