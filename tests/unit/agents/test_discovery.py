"""A worker runs with all its agents, or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from testbed.worker import CHECKOUT


def test_a_module_that_cannot_be_imported_stops_the_worker(tmp_path: Path) -> None:
    breaks = "import sys; sys.modules['agents.chains'] = None; from faust.cli.faust import cli; "
    done = subprocess.run(
        [sys.executable, "-c", breaks + "cli(['-A', 'app', 'agents'])"],
        cwd=CHECKOUT,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "agents.chains cannot be imported" in done.stderr
