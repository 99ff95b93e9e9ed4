"""Strimzi's own classes of its manifests: downloaded once with Maven, then kept in a cache folder.

``python -m testbed.strimzi_classes`` downloads them in advance.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .availability import ServerUnavailableError
from .cache import cached
from .kafka_jars import find_java
from .maven import fetch_jars

__all__ = ["find_strimzi", "problems_of_manifests"]

#: The last version that Java 17 can run.
_VERSION = "0.51.0"

#: Of all jars, as `fetch_jars` says.
_DIGEST = "a16becf33dc750060a2fd511fedbb98c3997c8c71b412726a224dfb60fd676d6"

_PROGRAM = Path(__file__).with_name("StrimziManifests.java")


def find_strimzi() -> Path:
    """Return the folder with the jars; the first call on a machine downloads them.

    Raises
    ------
    ServerUnavailableError
        There is no Java, or the jars are not in the cache and cannot be downloaded.
    """
    find_java()
    return cached(f"strimzi-{_VERSION}", _fetch)


def problems_of_manifests(files: Sequence[Path]) -> dict[str, str]:
    """Return what is wrong with each manifest, by its file and place such as ``a.yaml:0``.

    Strimzi's classes read the manifests; what they do not know, or do not keep as it is, is wrong.
    The text is empty if nothing is wrong.

    Parameters
    ----------
    files
        Files of one or several manifests.
    """
    answer = subprocess.run(
        [find_java(), "-cp", f"{find_strimzi()}/*", _PROGRAM, *files],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = (line.partition("\t") for line in answer.stdout.splitlines())
    return {place: problem for place, _, problem in found}


def _fetch(folder: Path) -> Path:
    artifacts = [f"io.strimzi:api:{_VERSION}"]
    return fetch_jars(f"Strimzi {_VERSION}", artifacts, folder, megabytes=20, digest=_DIGEST)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_strimzi()}\n")
    except ServerUnavailableError as unavailable:
        sys.exit(str(unavailable))
