"""Where Prometheus' programs, nginx and the browser come from, if a machine is not Debian's."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.availability import ServerUnavailableError
from testbed.chromium_program import find_chromium
from testbed.nginx_program import find_nginx
from testbed.prometheus_programs import find_prometheus


def program(folder: Path, name: str, text: str = "") -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of ``PATH``; the cache is empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("BUTLER_WRITER_CACHE", str(tmp_path / "cache"))
    return folder


def test_prometheus_of_the_machine_is_preferred(path: Path) -> None:
    program(path, "prometheus")
    program(path, "promtool")
    assert find_prometheus() == path


def test_a_browser_of_the_machine_is_preferred(path: Path) -> None:
    program(path, "chromium")
    assert find_chromium().program == path / "chromium"


def test_nginx_of_the_machine_is_preferred(path: Path) -> None:
    program(path, "nginx")
    assert find_nginx() == path / "nginx"


def test_a_machine_without_apt_is_told_what_to_do(path: Path) -> None:
    with pytest.raises(ServerUnavailableError, match=r"without apt-get .* put it into PATH"):
        find_chromium()
    with pytest.raises(ServerUnavailableError, match=r"without apt-get .* put it into PATH"):
        find_nginx()
    with pytest.raises(ServerUnavailableError, match=r"without apt-get .* put both into PATH"):
        find_prometheus()


def test_the_reason_of_apt_is_told_and_nothing_is_kept(path: Path, tmp_path: Path) -> None:
    program(path, "dpkg-deb")
    program(path, "apt-get", 'echo "E: Unable to locate package prometheus"; exit 100')
    with pytest.raises(ServerUnavailableError, match="E: Unable to locate package prometheus"):
        find_prometheus()
    assert not (tmp_path / "cache/prometheus").exists()
    with pytest.raises(ServerUnavailableError, match="E: Unable to locate package prometheus"):
        find_chromium()
    assert not (tmp_path / "cache/chromium").exists()
