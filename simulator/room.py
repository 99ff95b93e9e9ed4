"""The space on the disk that a demo needs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from simulator.night import Night
from simulator.watch import DemoError

__all__ = ["check_room"]

_MIB = 2**20
#: Space on the disk, in bytes: of servers and logs, and of an event and its artifacts.
_ROOM = 64 * _MIB
_ROOM_PER_EVENT = 300 * 1024


def check_room(night: Night, repositories: int) -> None:
    """Refuse to start if the night does not fit into the temporary folder.

    Parameters
    ----------
    night : `Night`
        The night.
    repositories : `int`
        Number of repositories that have its files.

    Raises
    ------
    DemoError
        If there is not enough space.
    """
    folder = Path(tempfile.gettempdir())
    needed = repositories * (_ROOM + _ROOM_PER_EVENT * night.visits * night.detectors)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise DemoError(
            f"{folder} has {free // _MIB} MiB free, and the demo needs about {needed // _MIB} MiB: "
            "set TMPDIR to another folder, or use fewer --visits"
        )
