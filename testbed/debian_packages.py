"""Unpacks packages of Debian without installing them; the first call needs no root."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .availability import ServerUnavailableError

__all__ = ["missing_packages", "missing_tools", "unpack"]

_TIMEOUT = 300.0


def missing_tools() -> list[str]:
    """Return which of the programs that this module needs are not there."""
    return [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]


def missing_packages(package: str, folder: Path) -> list[str]:
    """Return a package and those that it depends on, as far as they are not installed.

    Raises
    ------
    ServerUnavailableError
        apt-get does not know the package.
    """
    simulate = ["apt-get", "-qq", "install", "--simulate", "--no-install-recommends", package]
    problem, lines = _run(simulate, folder)
    if problem:
        # A new machine has no list of packages, or an old one.
        update = ["apt-get", "-qq", "update"]
        problem, lines = _run(update, folder)[0], []
        if not problem:
            problem, lines = _run(simulate, folder)
    if problem:
        raise ServerUnavailableError(f"apt-get does not find Debian's package {package}: {problem}")
    return [line.split()[1] for line in lines if line.startswith("Inst ")]


def unpack(packages: Sequence[str], folder: Path) -> Path:
    """Download packages and unpack them; return the folder that has their files.

    Parameters
    ----------
    packages
        Their names.
    folder
        An empty folder.

    Raises
    ------
    ServerUnavailableError
        A package cannot be downloaded or unpacked.
    """
    download = ["apt-get", "-qq", "download", *packages]
    problem, _ = _run(download, folder)
    if problem:
        # A new machine has no list of packages, or an old one.
        problem = _run(["apt-get", "-qq", "update"], folder)[0] or _run(download, folder)[0]
    if problem:
        raise ServerUnavailableError(
            f"apt-get could not download Debian's package {packages[0]} (is there a network, and a "
            f"list of packages from 'apt-get update'?): {problem}"
        )
    unpacked = folder / "unpacked"
    for package in sorted(folder.glob("*.deb")):
        problem, _ = _run(["dpkg-deb", "--extract", package, unpacked], folder)
        if problem:
            raise ServerUnavailableError(f"{package.name} could not be unpacked: {problem}")
    return unpacked


def _run(command: Sequence[str | Path], folder: Path) -> tuple[str | None, list[str]]:
    """Run a command in a folder; return the last line of its output if it fails, and all lines."""
    answer = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_TIMEOUT,
    )
    lines = answer.stdout.strip().splitlines()
    return (None if answer.returncode == 0 else (lines or ["?"])[-1]), lines
