"""What a worker needs of its machine: a port for its pages, a data folder, memory."""

from __future__ import annotations

import ctypes
import faulthandler
import math
import os
import socket
import threading
from pathlib import Path

import structlog

from app.butler.descriptions import describe
from app.errors import OperatorError

__all__ = [
    "MachineError",
    "check_data_directory",
    "check_port",
    "end_process_after",
    "end_unless_called_again",
    "memory_limit",
    "resident_bytes",
    "share_one_arena",
    "show_crashes",
]

logger = structlog.get_logger("butler_writer")

#: The file descriptor of standard error, which Faust replaces by its log.
_STDERR = 2

#: The GNU C library's number for the parameter of ``mallopt`` that limits the number of arenas.
_M_ARENA_MAX = -8


class MachineError(OperatorError):
    """A port or a folder cannot be used."""


def check_port(address: str, port: int) -> None:
    """Check that the pages can listen on a port.

    Parameters
    ----------
    address : `str`
        The address to listen on.
    port : `int`
        The port; 0: any.

    Raises
    ------
    MachineError
        If they cannot, for example because another process does.
    """
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, where in found[:1]:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as asyncio does
                probe.bind(where)
                probe.listen()
    except socket.gaierror as exc:
        raise MachineError(
            f"the pages cannot use the address {address}: {exc.strerror}; correct --web-bind"
        ) from exc
    except (OSError, OverflowError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else describe(exc)
        raise MachineError(
            f"the pages cannot use port {port} of {address}: {reason}; end the process that uses "
            "it, or choose another port with --web-port"
        ) from exc


def check_data_directory(folder: Path) -> None:
    """Create Faust's folder if it is missing, and check that files can be written there.

    Parameters
    ----------
    folder : `pathlib.Path`
        The setting ``BUTLER_WRITER_DATA_DIRECTORY``.

    Raises
    ------
    MachineError
        If it cannot be used.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"probe")
        probe.unlink()
    except OSError as exc:
        raise MachineError(
            f"BUTLER_WRITER_DATA_DIRECTORY='{folder}' cannot be used: {exc.strerror}; name a "
            "folder that this user may create and write to"
        ) from exc


def share_one_arena() -> None:
    """Let all threads allocate memory in one arena, if this is the GNU C library.

    Each of the threads would get an arena of its own, and keep most of what it has freed there.  In
    a backlog of 6,000 events of 7 kB, a worker grew from 315 to 376 MiB after the first 500 events;
    with one arena from 285 to 293 MiB.  Threads that hold Python's lock do not wait for an arena.

    It must be called before the threads are started.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def memory_limit(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """Return how many bytes of memory a container's process may have; infinity if without limit.

    Parameters
    ----------
    cgroup : `pathlib.Path`
        Where the control groups are mounted.
    """
    # Version 2 of control groups, and version 1, whose number for no limit is close to 2**63.
    for file in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        try:
            limit = float(file.read_text().replace("max", "inf"))
        except (OSError, ValueError):
            continue
        return limit if limit < 2**60 else math.inf
    return math.inf


def resident_bytes() -> int | None:
    """Return how many bytes of memory this process has now; `None` if this is not Linux."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, LookupError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def end_process_after(seconds: float) -> None:
    """End the process after some seconds, if an orderly shutdown has not ended it by then."""
    faulthandler.cancel_dump_traceback_later()

    def end() -> None:
        logger.critical("shutdown takes too long, ending the worker")
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def show_crashes() -> None:
    """Let a crash, such as a segmentation fault, leave the stacks of all threads on stderr."""
    faulthandler.enable(_STDERR)


def end_unless_called_again(seconds: float) -> None:
    """End the process if this is not called again within some seconds: the interpreter is held.

    No other thread of Python could notice that.  The stacks of all threads are left on stderr, and
    the exit code is 1.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
