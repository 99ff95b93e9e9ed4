"""Control groups of Linux: limits on the memory or the processor time of worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from testbed.worker import Worker

__all__ = ["ControlGroup", "memory_group", "processor_group"]

_ROOT = Path("/sys/fs/cgroup")

#: The time over which a share of a core is counted, in microseconds (the kernel's default).
_PERIOD = 100_000


class ControlGroup:
    """A control group with a limit.

    Parameters
    ----------
    folder : `pathlib.Path`
        The group's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, worker: Worker) -> None:
        """Put the process of a worker that was started into the group."""
        (self._folder / "cgroup.procs").write_text(str(worker.process.pid))


@contextmanager
def memory_group(limit: int) -> Iterator[ControlGroup | None]:
    """Make a group that the kernel kills processes of if they exceed a limit in bytes.

    It is `None` if this machine does not allow it.
    """
    version_1, version_2 = _ROOT / "memory" / "memory.limit_in_bytes", _ROOT / "memory.max"
    with _group({version_1: str(limit), version_2: str(limit)}) as group:
        yield group


@contextmanager
def processor_group(share: float) -> Iterator[ControlGroup | None]:
    """Make a group whose processes together get a share of one core, such as 0.2.

    It is `None` if this machine does not allow it.
    """
    quota = round(share * _PERIOD)
    version_1, version_2 = _ROOT / "cpu" / "cpu.cfs_quota_us", _ROOT / "cpu.max"
    with _group({version_1: str(quota), version_2: f"{quota} {_PERIOD}"}) as group:
        yield group


@contextmanager
def _group(limits: dict[Path, str]) -> Iterator[ControlGroup | None]:
    """Make a group where one of some files can be written; each with its value."""
    folder = _new_folder(limits)
    try:
        yield None if folder is None else ControlGroup(folder)
    finally:
        if folder is not None:
            folder.rmdir()


def _new_folder(limits: dict[Path, str]) -> Path | None:
    for file, value in limits.items():
        folder = file.parent / f"butler-writer-{uuid4().hex}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / file.name).write_text(value)
        except OSError:
            folder.rmdir()
        else:
            return folder
    return None
