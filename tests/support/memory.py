"""The memory of a worker process (Linux)."""

from __future__ import annotations

import re
from pathlib import Path

from testbed.worker import Worker

__all__ = ["MIB", "resident"]

MIB = 2**20


def resident(worker: Worker) -> int:
    """Return the resident size of a worker's process, in bytes."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None, "the worker has ended"
    return int(found[1]) * 1024
