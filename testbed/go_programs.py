"""Programs that are built from Go modules: those of ``PATH``, or else those of the cache.

``python -m testbed.go_programs NAME...`` builds them in advance.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .availability import ServerUnavailableError
from .cache import cache_folder, cached

__all__ = ["find_go_program"]


@dataclass(frozen=True)
class _Module:
    """The module of a program, which is in its folder ``cmd``.

    Attributes
    ----------
    path, version
        Name and version.
    checksum
        Of its content, as in a ``go.sum`` file. The module itself has those of all others.
    """

    path: str
    version: str
    checksum: str


_MODULES = {
    "actionlint": _Module(
        "github.com/rhysd/actionlint",
        "v1.7.12",
        "h1:vQ4GeJN86C0QH+gTUQcs8McmK62OLT3kmakPMtEWYnY=",
    ),
    "helm": _Module(
        "helm.sh/helm/v3",
        "v3.22.0",
        "h1:n1if5iQgHYsujPAcO5oonH/KiSNUmqmUF0iGVjSF3AU=",
    ),
    "helm-docs": _Module(
        "github.com/norwoodj/helm-docs",
        "v1.14.2",
        "h1:Ew3bCq1hZqMnnTopkk66Uy2mGwu/jAclAx+3JAVp1To=",
    ),
}


def find_go_program(name: str) -> Path:
    """Return a program; the first call on a machine builds it, which takes minutes.

    Raises
    ------
    ServerUnavailableError
        It is neither in ``PATH`` nor in the cache, and cannot be built.
    """
    if found := shutil.which(name):
        return Path(found)
    module = _MODULES[name]
    return cached(f"{name}-{module.version}", partial(_build, name, module)) / name


def _build(name: str, module: _Module, folder: Path) -> Path:
    go = shutil.which("go")
    if go is None:
        raise ServerUnavailableError(
            f"neither PATH nor the cache {cache_folder()} has {name}, and without go it cannot be "
            "built: put it into PATH"
        )
    sys.stderr.write(f"Building {name} {module.version} from its Go module: once, some minutes\n")
    source = f"{module.path}@{module.version}"
    fetched = json.loads(_run([go, "mod", "download", "-json", source], folder, folder))
    if fetched["Sum"] != module.checksum:
        raise ServerUnavailableError(
            f"{name} is not built: {source} has the checksum {fetched['Sum']}, and not "
            f"{module.checksum}"
        )
    programs = folder / "programs"
    build = [go, "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w"]
    _run([*build, "-o", str(programs / name), f"./cmd/{name}"], Path(fetched["Dir"]), folder)
    return programs


def _run(command: Sequence[str], source: Path, folder: Path) -> str:
    """Run Go in the folder of a source; all that it keeps is in the other folder."""
    environment = os.environ | {
        "GOCACHE": str(folder / "cache"),
        "GOMODCACHE": str(folder / "modules"),
        # So that the folder can be removed.
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip(),
    }
    answer = subprocess.run(
        command,
        cwd=source,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        said = (answer.stderr or answer.stdout).strip().splitlines() or ["?"]
        raise ServerUnavailableError(f"{' '.join(command[:3])} failed: {said[-1]}")
    return answer.stdout


if __name__ == "__main__":
    try:
        for each in sys.argv[1:]:
            sys.stdout.write(f"{find_go_program(each)}\n")
    except ServerUnavailableError as unavailable:
        sys.exit(str(unavailable))
