"""The web server nginx: that of ``PATH``, or else Debian's, which is kept in the cache.

``python -m testbed.nginx_program`` fetches it in advance.
"""

import shutil
import sys
from pathlib import Path

from .availability import ServerUnavailableError
from .cache import cache_folder, cached
from .debian_packages import missing_tools, unpack

__all__ = ["find_nginx"]


def find_nginx() -> Path:
    """Return the program.

    Debian's package is unpacked and not installed, because installing it starts a system service.
    It needs only libraries that Python needs too. So the first call needs no root, except to fetch
    the list of packages on a machine that has none.

    Raises
    ------
    ServerUnavailableError
        It is neither in ``PATH`` nor in the cache, and cannot be downloaded.
    """
    if found := shutil.which("nginx"):
        return Path(found)
    return cached("nginx", _fetch) / "usr" / "sbin" / "nginx"


def _fetch(folder: Path) -> Path:
    if missing := missing_tools():
        raise ServerUnavailableError(
            f"neither PATH nor the cache {cache_folder()} has nginx, and without {missing[0]} it "
            "cannot be downloaded: put it into PATH"
        )
    sys.stderr.write("Downloading Debian's package nginx (about 1 MB)\n")
    return unpack(["nginx"], folder)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_nginx()}\n")
    except ServerUnavailableError as unavailable:
        sys.exit(str(unavailable))
