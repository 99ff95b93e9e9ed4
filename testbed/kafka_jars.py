"""Apache Kafka's jars: fetched once from Maven, then kept in a cache folder.

Also a command, so that an install step can fetch ahead: ``python -m testbed.kafka_jars``.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .availability import PartUnavailableError

__all__ = ["KAFKA_VERSION", "find_java", "kafka_jars"]

KAFKA_VERSION = "4.1.1"
_MINIMUM_JAVA = 17  # what Kafka 4's broker is compiled for
_DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

# The log4j binding is part of Kafka's release archive, but not of the artifact's dependencies:
# without it the broker is mute. The version is that of the log4j-core which Kafka brings.
_POM = f"""<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>butler-writer</groupId>
  <artifactId>kafka-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
"""


def find_java() -> Path:
    """Return the ``java`` to run Kafka with: that of ``JAVA_HOME``, else the first on the path.

    Raises
    ------
    PartUnavailableError
        There is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if found is None or not Path(found).exists():
        raise PartUnavailableError("no Java: install a JDK (17 or newer) or set JAVA_HOME")
    answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', answer.stderr)
    if version is None or int(version[1]) < _MINIMUM_JAVA:
        raise PartUnavailableError(f"{found} is older than Java {_MINIMUM_JAVA}")
    return Path(found)


def kafka_jars() -> Path:
    """Return the folder with the broker's jars; the first call on a machine fetches them.

    The folder is ``kafka-<version>`` in ``BUTLER_WRITER_CACHE``, by default
    ``${XDG_CACHE_HOME:-~/.cache}/butler-writer``. It appears whole or not at all, and two
    processes that want it at once fetch it once.

    Raises
    ------
    PartUnavailableError
        The jars are not there and cannot be fetched.
    """
    cache = _cache_folder()
    jars = cache / f"kafka-{KAFKA_VERSION}"
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise PartUnavailableError("no Maven (mvn) to fetch Apache Kafka with, and none cached")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / f"kafka-{KAFKA_VERSION}.lock").open("w")
    except OSError as error:
        raise PartUnavailableError(
            f"cannot write the cache folder {cache} ({error.strerror}): set BUTLER_WRITER_CACHE"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():
            _fetch(maven, jars)
    return jars


def _cache_folder() -> Path:
    if own := os.environ.get("BUTLER_WRITER_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "butler-writer"


def _fetch(maven: str, jars: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{jars.name}-", dir=jars.parent) as name:
        folder = Path(name)
        pom = folder / "pom.xml"
        pom.write_text(_POM)
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
            end = "\n".join(answer.stdout.splitlines()[-15:])
            raise PartUnavailableError(
                f"Maven could not fetch Apache Kafka {KAFKA_VERSION}:\n{end}"
            )
        fetched.rename(jars)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{kafka_jars()}\n")
    except PartUnavailableError as unavailable:
        sys.exit(str(unavailable))
