"""A datastore that is not mounted, and a directory that is full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.laboratory import Laboratory
from tests.parts.waiting import wait_until


def test_the_datastore_is_not_mounted(laboratory: Laboratory) -> None:
    """Its files are not missing: nobody can know."""
    (worker,) = laboratory.start()
    root = laboratory.deployment.root
    elsewhere = root.with_name("elsewhere")
    laboratory.send(20)
    root.rename(elsewhere)
    try:
        laboratory.night.root = elsewhere
        laboratory.send(20)
        wait_until(lambda: worker.status("/readyz") == 503, 60, "the worker is not ready")
    finally:
        elsewhere.rename(root)
    laboratory.make_books()


def test_the_dataset_list_directory_is_full(laboratory: Laboratory) -> None:
    lists = laboratory.deployment.lists
    with full(lists):
        (worker,) = laboratory.start()
        laboratory.send(20)
        wait_until(lambda: worker.status("/readyz") == 503, 60, "the worker is not ready")
        assert "announce" in worker.log_text()
    laboratory.make_books()


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Let a folder take nothing: a tiny file system that is full, or, unmountable, a file."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode == 0:
        (folder / "filler").write_bytes(b"x" * 4096)
        yield
        subprocess.run(["umount", folder], check=True)
    else:
        folder.rmdir()
        folder.touch()
        yield
        folder.unlink()
        folder.mkdir()
