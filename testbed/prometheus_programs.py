"""Prometheus' programs: those in ``PATH``, or else Debian's, which are kept in the cache.

``python -m testbed.prometheus_programs`` fetches them in advance.
"""

import shutil
import sys
from pathlib import Path

from .availability import ServerUnavailableError
from .cache import cache_folder, cached
from .debian_packages import missing_tools, unpack

__all__ = ["find_prometheus"]

_NAMES = ("prometheus", "promtool")


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
    if missing := missing_tools():
        raise ServerUnavailableError(
            f"neither PATH nor the cache {cache_folder()} has {' and '.join(_NAMES)}, and without "
            f"{missing[0]} they cannot be downloaded: put both into PATH"
        )
    sys.stderr.write("Downloading Debian's package prometheus (about 20 MB)\n")
    return unpack(["prometheus"], folder)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_prometheus()}\n")
    except ServerUnavailableError as unavailable:
        sys.exit(str(unavailable))
