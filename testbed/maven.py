"""Downloads jars with Maven."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .availability import ServerUnavailableError
from .cache import cache_folder

__all__ = ["fetch_jars"]

_DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

_POM = """<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>butler-writer</groupId>
  <artifactId>jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>{}
  </dependencies>
</project>
"""

_DEPENDENCY = """
    <dependency>
      <groupId>{}</groupId>
      <artifactId>{}</artifactId>
      <version>{}</version>
    </dependency>"""


def fetch_jars(
    name: str,
    artifacts: Sequence[str],
    folder: Path,
    *,
    megabytes: int,
    digest: str | None = None,
) -> Path:
    """Download artifacts, and what they need to run; return the folder of the jars.

    Parameters
    ----------
    name
        What they are, for messages.
    artifacts
        Each as ``group:artifact:version``.
    folder
        An empty folder.
    megabytes
        About how much that is.
    digest
        If given, the SHA-256 of all jars together: of their names and digests, sorted.

    Raises
    ------
    ServerUnavailableError
        There is no Maven, it cannot download them, or they are not the ones that were expected.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise ServerUnavailableError(
            f"{name} is not in the cache {cache_folder()}, and there is no Maven to download "
            "it: install the package maven"
        )
    sys.stderr.write(f"Downloading {name} (about {megabytes} MB) with Maven: a minute or two\n")
    pom = folder / "pom.xml"
    pom.write_text(_POM.format("".join(_DEPENDENCY.format(*each.split(":")) for each in artifacts)))
    fetched = folder / "jars"
    answer = subprocess.run(
        [
            maven,
            "--batch-mode",
            "--quiet",
            f"--file={pom}",
            f"{_DEPENDENCY_PLUGIN}:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={fetched}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        # Maven's first error has the cause; the others say how to get more output.
        said = [line for line in answer.stdout.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("[ERROR]")] or said[-1:] or ["?"]
        raise ServerUnavailableError(
            f"Maven could not download {name} (is there a network?): "
            f"{errors[0].removeprefix('[ERROR] ')}"
        )
    if digest is not None and (found := _digest(fetched)) != digest:
        raise ServerUnavailableError(f"Maven downloaded other jars of {name}: SHA-256 {found}")
    return fetched


def _digest(folder: Path) -> str:
    lines = [
        f"{jar.name} {hashlib.sha256(jar.read_bytes()).hexdigest()}\n"
        for jar in sorted(folder.glob("*.jar"))
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
