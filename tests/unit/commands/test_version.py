"""``faust -A app version`` needs neither settings nor servers."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from lsst.daf.butler import DimensionUniverse

from app.installation import own_version
from testbed.worker import CHECKOUT


def test_the_versions_are_shown_without_any_setting(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("faust"), "--json", "-A", "app", "version"],
        cwd=CHECKOUT,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert shown["butler-writer"] == own_version()
    assert shown["lsst-daf-butler"] == version("lsst-daf-butler")
    assert shown["faust-streaming"] == version("faust-streaming")
    universe = DimensionUniverse()
    assert shown["dimension universe"] == f"{universe.namespace} {universe.version}"
