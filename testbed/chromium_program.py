"""The browser Chromium: that of ``PATH``, or else Debian's, which is kept in the cache.

``python -m testbed.chromium_program`` fetches it in advance.
"""

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .availability import ServerUnavailableError
from .cache import cache_folder, cached
from .debian_packages import missing_packages, missing_tools, unpack

__all__ = ["Chromium", "find_chromium"]


@dataclass(frozen=True)
class Chromium:
    """A browser.

    Attributes
    ----------
    program
        Its program.
    libraries
        Folders of libraries that it needs and that are not installed.
    """

    program: Path
    libraries: list[Path] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which it runs."""
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, self.libraries))}


def find_chromium() -> Chromium:
    """Return the browser.

    Debian's packages are unpacked and not installed: its own, and those of the libraries that this
    machine lacks. So the first call needs no root, except to fetch the list of packages on a
    machine that has none.

    Raises
    ------
    ServerUnavailableError
        It is neither in ``PATH`` nor in the cache, and cannot be downloaded.
    """
    if found := shutil.which("chromium"):
        return Chromium(Path(found))
    files = cached("chromium", _fetch) / "usr" / "lib"
    libraries = [folder for folder in files.glob("*-linux-gnu*") if folder.is_dir()]
    own = [folder / "pulseaudio" for folder in libraries]
    return Chromium(files / "chromium" / "chromium", [*libraries, *own])


def _fetch(folder: Path) -> Path:
    if missing := missing_tools():
        raise ServerUnavailableError(
            f"neither PATH nor the cache {cache_folder()} has chromium, and without "
            f"{missing[0]} it cannot be downloaded: put it into PATH"
        )
    packages = missing_packages("chromium", folder)
    sys.stderr.write("Downloading Debian's package chromium (about 120 MB)\n")
    return unpack(packages, folder)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_chromium().program}\n")
    except ServerUnavailableError as unavailable:
        sys.exit(str(unavailable))
