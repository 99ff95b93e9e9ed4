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

#: Lets eight threads allocate at the same time; then the C library lists its arenas.
PROGRAM = """
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


def arenas(prepare: str) -> int:
    program = PROGRAM.format(prepare=prepare)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    return len(re.findall("<heap nr=", done.stdout))


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library has arenas")
def test_all_threads_allocate_in_one_arena() -> None:
    assert arenas("") > 4
    # One more may have been made while modules were imported.
    assert arenas("from app.machine import share_one_arena; share_one_arena()") <= 2


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
