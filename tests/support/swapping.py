"""Swaps two files or folders without a pause, as a hostile pod may."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["swapping"]

_SWAP = """
import os, sys
real, other = sys.argv[1:]
print("ready", flush=True)
while True:
    os.rename(real, real + ".away")
    os.rename(other, real)
    os.rename(real, other)
    os.rename(real + ".away", real)
"""


@contextmanager
def swapping(real: Path, other: Path) -> Iterator[None]:
    """Swap two names in another process, which runs beside this one."""
    command = [sys.executable, "-c", _SWAP, str(real), str(other)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
            process.wait()
            away = real.with_name(f"{real.name}.away")
            if away.exists():
                if os.path.lexists(real):
                    real.rename(other)
                away.rename(real)
