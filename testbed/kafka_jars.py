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
from .cache import cached
from .maven import fetch_jars

__all__ = ["KAFKA_VERSION", "find_java", "kafka_jars"]

KAFKA_VERSION = "4.1.1"
_MINIMUM_JAVA = 17  # the version that Kafka 4's broker is compiled for

# The log4j binding is in Kafka's release archive, but not among the artifact's dependencies.
# Without it, the broker logs nothing. Its version is that of Kafka's log4j-core.
_ARTIFACTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
)


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
    return fetch_jars(f"Apache Kafka {KAFKA_VERSION}", _ARTIFACTS, folder, megabytes=60)


if __name__ == "__main__":
    try:
        find_java()
        sys.stdout.write(f"{kafka_jars()}\n")
    except ServerUnavailableError as unavailable:
        sys.exit(str(unavailable))
