"""Control groups of Linux: limits on the memory or the processor time of worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from testbed.worker import Worker

__all__ = ["ControlGroup", "memory_group", "processor_group"]

_ROOT = Path("/sys/fs/cgroup")

#: The time over which a share of a core is counted, in microseconds: half of the kernel's default,
#: since a process that has used its share stands still, and others may wait for its locks.
_PERIOD = 50_000


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
    with _group({version_1: str(limit)}, {version_2: str(limit)}) as group:
        yield group


@contextmanager
def processor_group(share: float) -> Iterator[ControlGroup | None]:
    """Make a group whose processes together get a share of one core, such as 0.2.

    It is `None` if this machine does not allow it.
    """
    quota = round(share * _PERIOD)
    folder = _ROOT / "cpu"
    version_1 = {
        folder / "cpu.cfs_period_us": str(_PERIOD),
        folder / "cpu.cfs_quota_us": str(quota),
    }
    with _group(version_1, {_ROOT / "cpu.max": f"{quota} {_PERIOD}"}) as group:
        yield group


@contextmanager
def _group(*versions: dict[Path, str]) -> Iterator[ControlGroup | None]:
    """Make a group with the first version of these limits that can be set; each has some files."""
    folder = _new_folder(versions)
    try:
        yield None if folder is None else ControlGroup(folder)
    finally:
        if folder is not None:
            folder.rmdir()


def _new_folder(versions: Iterable[dict[Path, str]]) -> Path | None:
    for limits in versions:
        folder = next(iter(limits)).parent / f"butler-writer-{uuid4().hex}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            for file, value in limits.items():
                (folder / file.name).write_text(value)
        except OSError:
            folder.rmdir()
        else:
            return folder
    return None
