"""Clean copies of the repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from testbed.worker import CHECKOUT

__all__ = ["clone_checkout"]


def clone_checkout(folder: Path) -> Path:
    """Clone the repository into a folder, including uncommitted changes; return the folder."""
    subprocess.run(["git", "clone", "--quiet", CHECKOUT, folder], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    tracked = {name for name in listed.stdout.splitlines() if (CHECKOUT / name).is_file()}
    for name in tracked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, folder / name)
    for file in folder.rglob("*.py"):
        if str(file.relative_to(folder)) not in tracked:
            file.unlink()
    return folder
