"""Prometheus' programs: those in ``PATH``, or else Debian's, which are kept in the cache.

``python -m testbed.prometheus_programs`` fetches them in advance.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .availability import ServerUnavailableError
from .cache import cache_folder, cached

__all__ = ["find_prometheus"]

_NAMES = ("prometheus", "promtool")
_TIMEOUT = 300.0


def find_prometheus() -> Path:
    """Return the folder of ``prometheus`` and ``promtool``.

    Debian's package is unpacked and not installed, because installing it starts a system service.
    It needs only the C library. So the first call needs no root, except to fetch the list of
    packages on a machine that has none.

    Raises
    ------
    ServerUnavailableError
        They are neither in ``PATH`` nor in the cache, and cannot be downloaded.
    """
    found = [shutil.which(name) for name in _NAMES]
    folders = {Path(program).parent for program in found if program is not None}
    if len(folders) == 1 and None not in found:
        return folders.pop()
    return cached("prometheus", _fetch) / "usr" / "bin"


def _fetch(folder: Path) -> Path:
    missing = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        raise ServerUnavailableError(
            f"neither PATH nor the cache {cache_folder()} has {' and '.join(_NAMES)}, and without "
            f"{missing[0]} they cannot be downloaded: put both into PATH"
        )
    sys.stderr.write("Downloading Debian's package prometheus (about 20 MB)\n")
    download = ["apt-get", "-qq", "download", "prometheus"]
    if problem := _run(download, folder):
        # A new machine has no list of packages, or an old one.
        problem = _run(["apt-get", "-qq", "update"], folder) or _run(download, folder)
    if problem:
        raise ServerUnavailableError(
            "apt-get could not download Debian's package prometheus (is there a network, and a "
            f"list of packages from 'apt-get update'?): {problem}"
        )
    (package,) = folder.glob("prometheus_*.deb")
    unpacked = folder / "unpacked"
    if problem := _run(["dpkg-deb", "--extract", package, unpacked], folder):
        raise ServerUnavailableError(f"{package.name} could not be unpacked: {problem}")
    return unpacked


def _run(command: Sequence[str | Path], folder: Path) -> str | None:
    """Run a command in a folder, and return the last line of its output if it fails."""
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
    return None if answer.returncode == 0 else (answer.stdout.strip().splitlines() or ["?"])[-1]


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_prometheus()}\n")
    except ServerUnavailableError as unavailable:
        sys.exit(str(unavailable))
