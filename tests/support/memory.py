"""The memory of a worker process (Linux), and a limit on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from testbed.worker import Worker

__all__ = ["MIB", "MemoryGroup", "memory_group", "resident"]

MIB = 2**20

#: Where control groups are, and the file that limits a group's memory: version 1, then version 2.
_HIERARCHIES = {
    Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes",
    Path("/sys/fs/cgroup"): "memory.max",
}


def resident(worker: Worker) -> int:
    """Return the resident size of a worker's process, in bytes."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None, "the worker has ended"
    return int(found[1]) * 1024


class MemoryGroup:
    """A control group with a limit on its memory: the kernel kills what exceeds it.

    Parameters
    ----------
    folder : `pathlib.Path`
        The group's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, worker: Worker) -> None:
        """Put a worker's process into the group, as soon as it is started."""
        (self._folder / "cgroup.procs").write_text(str(worker.process.pid))


@contextmanager
def memory_group(limit: int) -> Iterator[MemoryGroup | None]:
    """Make a control group with a limit in bytes; `None` if this machine does not allow it."""
    folder = _new_folder(limit)
    try:
        yield None if folder is None else MemoryGroup(folder)
    finally:
        if folder is not None:
            folder.rmdir()


def _new_folder(limit: int) -> Path | None:
    for root, file in _HIERARCHIES.items():
        folder = root / f"butler-writer-{uuid4().hex}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / file).write_text(str(limit))
        except OSError:
            folder.rmdir()
        else:
            return folder
    return None
