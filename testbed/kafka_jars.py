"""Apache Kafka's jars: downloaded once with Maven, then kept in a cache folder.

``python -m testbed.kafka_jars`` downloads them in advance.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .availability import ServerUnavailableError
from .cache import cache_folder, cached

__all__ = ["KAFKA_VERSION", "find_java", "kafka_jars"]

KAFKA_VERSION = "4.1.1"
_MINIMUM_JAVA = 17  # the version that Kafka 4's broker is compiled for
_DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

# The log4j binding is in Kafka's release archive, but not among the artifact's dependencies.
# Without it, the broker logs nothing. Its version is that of Kafka's log4j-core.
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
    """Return the ``java`` to run Kafka with: that of ``JAVA_HOME``, or else that in ``PATH``.

    Raises
    ------
    ServerUnavailableError
        There is none, or it is too old.
    """
    remedy = f"install a JDK ({_MINIMUM_JAVA} or newer) or set JAVA_HOME"
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if found is None or not Path(found).exists():
        where = f" in JAVA_HOME={home}" if home else ""
        raise ServerUnavailableError(f"no Java{where}: {remedy}")
    try:
        answer = subprocess.run(
            [found, "-version"], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerUnavailableError(f"{found} cannot be run ({error}): {remedy}") from None
    version = re.search(r'version "(\d+)', answer.stderr)
    if version is None or int(version[1]) < _MINIMUM_JAVA:
        raise ServerUnavailableError(f"{found} is older than Java {_MINIMUM_JAVA}: {remedy}")
    return Path(found)


def kafka_jars() -> Path:
    """Return the folder with the broker's jars; the first call on a machine downloads them.

    The folder is ``kafka-<version>`` in the cache.

    Raises
    ------
    ServerUnavailableError
        The jars are not in the cache and cannot be downloaded.
    """
    return cached(f"kafka-{KAFKA_VERSION}", _fetch)


def _fetch(folder: Path) -> Path:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServerUnavailableError(
            f"Apache Kafka is not in the cache {cache_folder()}, and there is no Maven to download "
            "it: install the package maven"
        )
    sys.stderr.write(
        f"Downloading Apache Kafka {KAFKA_VERSION} (about 60 MB) with Maven: a minute or two\n"
    )
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
        # Maven's first error has the cause; the others say how to get more output.
        said = [line for line in answer.stdout.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("[ERROR]")] or said[-1:] or ["?"]
        raise ServerUnavailableError(
            f"Maven could not download Apache Kafka {KAFKA_VERSION} (is there a network?): "
            f"{errors[0].removeprefix('[ERROR] ')}"
        )
    return fetched


if __name__ == "__main__":
    try:
        find_java()
        sys.stdout.write(f"{kafka_jars()}\n")
    except ServerUnavailableError as unavailable:
        sys.exit(str(unavailable))
