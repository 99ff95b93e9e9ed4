"""The demo succeeds only if the Butler has everything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from io import StringIO

import psutil
import pytest
from lsst.daf.butler import Butler
from rich.console import Console

from simulator.demo import Demo
from simulator.night import Night
from simulator.watch import DemoError
from testbed.worker import CHECKOUT


@pytest.fixture
def demo() -> Iterator[Demo]:
    night = Night(visits=1, detectors=3, cadence=2.0)
    with Demo(night, console=Console(file=StringIO())) as running:
        yield running


def test_the_demo_fails_if_somebody_removes_a_dataset(demo: Demo) -> None:
    demo.run()
    assert demo.finish().complaints == []
    butler = Butler.from_config(str(demo.root), writeable=True)
    lost = next(iter(demo.sent.values())).ref
    butler.pruneDatasets([lost], disassociate=True, unstore=True, purge=True)
    outcome = demo.finish()
    assert outcome.complaints == ["1 datasets that were sent are missing"]
    assert "missing=1 " in outcome.line


def test_the_demo_fails_if_an_artifact_cannot_be_read(demo: Demo) -> None:
    demo.run()
    for output in demo.sent.values():
        (demo.root / output.path).write_text("{}")
    assert any("cannot be read back" in words for words in demo.finish().complaints)


def test_the_demo_fails_if_the_worker_is_not_running(demo: Demo) -> None:
    demo.running[0].kill()
    with pytest.raises(DemoError, match="worker 1"):
        demo.run()


def test_the_demo_succeeds_with_staging_duplicates_and_bad_events_and_stops_everything() -> None:
    options = ["--visits=2", "--detectors=4", "--cadence=1", "--workers=2", "--seed=3"]
    options += ["--mode=staging"]
    mishaps = ["--duplicates=0.5", "--bad=0.5", "--stragglers=0.2"]
    done = subprocess.run(
        [sys.executable, "-m", "simulator", "demo", *options, *mishaps],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo: events=8 " in done.stdout
    assert " missing=0 twice=0 " in done.stdout
    mine = psutil.Process().children(recursive=True)
    assert not [p for p in mine if "faust" in " ".join(p.cmdline())]
