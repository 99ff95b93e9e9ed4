"""What a worker needs of its machine."""

from __future__ import annotations

import math
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.machine import MachineError, check_port, memory_limit

CHECKOUT = Path(__file__).parents[2]

#: What a worker does at its start.
PREPARE = "from app.machine import limit_fragmentation; limit_fragmentation()"

#: Lets eight threads allocate at the same time; then the C library lists its arenas.
IN_THREADS = """
import ctypes
from threading import Barrier, Thread
{prepare}
libc, barrier = ctypes.CDLL(None), Barrier(8)
libc.malloc.restype = ctypes.c_void_p

def allocate():
    barrier.wait()
    libc.malloc(10_000)
    barrier.wait()

threads = [Thread(target=allocate) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


#: Frees a block of 8 MiB; then it lists how many of 100 events of 100 kB are mapped on their own.
AFTER_A_LARGE_BLOCK = """
import ctypes
{prepare}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.free(libc.malloc(8 * 2**20))
[libc.malloc(100_000) for _ in range(100)]
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""

with_the_gnu_c_library = pytest.mark.skipif(
    sys.platform != "linux", reason="only the GNU C library has these parameters"
)


def memory_after(program: str, prepare: str) -> str:
    """Run a program; return what the C library says about its memory."""
    return subprocess.run(
        [sys.executable, "-c", program.format(prepare=prepare)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@with_the_gnu_c_library
def test_all_threads_allocate_in_one_arena() -> None:
    def arenas(prepare: str) -> int:
        return len(re.findall("<heap nr=", memory_after(IN_THREADS, prepare)))

    assert arenas("") > 4
    # One more may have been made while modules were imported.
    assert arenas(PREPARE) <= 2


@with_the_gnu_c_library
def test_events_of_100_kb_are_mapped_on_their_own() -> None:
    """So their memory is returned when they are freed."""

    def mapped(prepare: str) -> int:
        text = memory_after(AFTER_A_LARGE_BLOCK, prepare)
        found = re.search(r'<total type="mmap" count="(\d+)"', text)
        assert found is not None
        return int(found[1])

    assert mapped("") < 20
    assert mapped(PREPARE) >= 100


def test_an_unknown_address_is_named() -> None:
    with pytest.raises(
        MachineError, match=r"the address nosuch\.invalid: \w.*; correct --web-bind"
    ):
        check_port("nosuch.invalid", 6066)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(MachineError, match=f"port {port} of 127.0.0.1: Address already in use"):
            check_port("127.0.0.1", port)


@pytest.mark.parametrize(
    ("file", "content", "limit"),
    [
        ("memory.max", "1073741824\n", 2**30),
        ("memory.max", "max\n", math.inf),
        ("memory/memory.limit_in_bytes", "536870912\n", 2**29),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", math.inf),
        ("cgroup.controllers", "memory\n", math.inf),
    ],
)
def test_the_memory_limit_is_that_of_the_control_group(
    tmp_path: Path, file: str, content: str, limit: float
) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / file).write_text(content)
    assert memory_limit(tmp_path) == limit
