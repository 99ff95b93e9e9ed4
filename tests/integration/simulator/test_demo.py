"""The demo succeeds only if the Butler has everything."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Self

import psutil
import pytest
from astropy import units
from astropy.time import Time
from lsst.daf.butler import Butler
from rich.console import Console

from simulator.demo import Demo
from simulator.night import Night
from simulator.sending import Sender
from simulator.watch import DemoError
from testbed.embedded import EmbeddedBroker
from testbed.waiting import wait_until
from testbed.worker import CHECKOUT
from tests.support.command_blocks import command_blocks


@pytest.fixture
def demo() -> Iterator[Demo]:
    night = Night(visits=1, detectors=3, cadence=2.0)
    with Demo(night, console=Console(file=StringIO())) as running:
        yield running


def test_the_demo_fails_if_a_dataset_is_missing_or_cannot_be_read(demo: Demo) -> None:
    demo.run()
    assert demo.finish().complaints == []
    artifacts = {demo.root / output.path for output in demo.sent.values()}
    contents = {artifact: artifact.read_bytes() for artifact in artifacts}
    for artifact in artifacts:
        artifact.write_text("{}")
    assert any("cannot be read back" in words for words in demo.finish().complaints)
    for artifact, content in contents.items():
        artifact.write_bytes(content)
    butler = Butler.from_config(str(demo.root), writeable=True)
    lost = next(iter(demo.sent.values())).ref
    butler.pruneDatasets([lost], disassociate=True, unstore=True, purge=True)
    outcome = demo.finish()
    assert outcome.complaints == ["1 datasets that were sent are missing"]
    assert "missing=1 " in outcome.line


def test_a_second_repository_fills_up_behind_an_embargo_and_is_checked() -> None:
    night = Night(visits=1, detectors=3, cadence=2.0)
    console = Console(file=StringIO())
    with Demo(night, with_downstream=True, console=console) as demo:
        target = demo.downstream
        assert target is not None
        demo.run()
        outcome = demo.finish()
        assert outcome.complaints == []
        assert outcome.line.partition("downstream=")[2].split()[1] == "early=0"
        butler = Butler.from_config(str(target.root), writeable=True)
        stored = [
            ref
            for kind in butler.registry.queryDatasetTypes()
            for ref in butler.query_datasets(kind, collections="*", find_first=False)
        ]
        excluded = {i for i, each in demo.sent.items() if "rejected" in each.ref.datasetType.name}
        assert {ref.id for ref in stored} == demo.sent.keys() - excluded
        assert excluded
        # The check can fail: a dataset that is lost, a record that differs, and one that is early.
        butler.pruneDatasets(stored[:1], disassociate=True, unstore=True, purge=True)
        group = butler.dimensions["group"].RecordClass(instrument="LSSTCam", name="another")
        butler.registry.insertDimensionData("group", group)
        assert demo.finish().complaints == [
            "downstream, 1 datasets that were sent are missing",
            "downstream, 1 dimension records are not the source's",
        ]
        tomorrow = replace(demo.night, evening=Time.now() + 1 * units.day)
        target.expect(next(tomorrow.pods())[1])
        wait_until(lambda: target.early, 10, "")
        assert "before their embargo was over" in demo.finish().complaints[-1]


def test_the_demo_fails_if_the_worker_is_not_running(demo: Demo) -> None:
    demo.running[0].kill()
    with pytest.raises(DemoError, match=r"^worker 1 .* has ended \(SIGKILL\)"):
        demo.run()


def test_the_display_is_updated_while_pods_wait(
    embedded_broker: EmbeddedBroker, topic_name: str, tmp_path: Path
) -> None:
    """Also when no further pod ends: then a dead worker went unnoticed."""
    embedded_broker.create_topic(topic_name)
    night = Night(visits=1, detectors=8, cadence=0.1)
    sender = Sender(night, embedded_broker, topic_name, tmp_path, on_sent=lambda _: time.sleep(1))
    ticks = [time.monotonic()]

    sender.run(lambda: ticks.append(time.monotonic()))

    assert max(later - earlier for earlier, later in pairwise(ticks)) < 4
    assert sender.events == 8


class Rehearsal:
    """The demo as a user starts it, with a temporary folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._output = folder.with_suffix(".out")
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "simulator", "demo", *options],
                cwd=CHECKOUT,
                env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "20"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_for(self, text: str, timeout: float = 90) -> None:
        def found() -> bool:
            assert self.process.poll() is None, self.output
            return text in self.output

        wait_until(found, timeout, lambda: self.output)

    @property
    def commands(self) -> list[str]:
        """The commands to try."""
        lines = self.output.splitlines()
        return [line.strip() for line in lines[lines.index(_TRY) + 1 :] if line.startswith("  ")]

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def execute(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Execute a command that the demo prints."""
    return subprocess.run(
        ["sh", "-c", command],
        cwd=CHECKOUT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def test_a_worker_that_dies_is_noticed_named_and_ends_the_demo(folder: Path) -> None:
    with Rehearsal(folder, "--visits=100", "--detectors=2", "--cadence=20") as rehearsal:
        rehearsal.wait_for("worker: ")
        children = rehearsal.children()
        (worker,) = [each for each in children if "faust" in " ".join(each.cmdline())]
        worker.kill()
        assert rehearsal.process.wait(60) == 1
    assert re.search(r"^worker: http://[\d.:]+/$", rehearsal.output, re.MULTILINE)
    line = rehearsal.output.splitlines()[-1]
    assert line.startswith(f"FAILED: worker 1 (process {worker.pid}) has ended (SIGKILL); ")
    (log,) = folder.iterdir()  # nothing else is left
    assert line.endswith(f"; log: {log}")
    assert '"starting"' in log.read_text()
    assert not any(each.is_running() for each in children)


@pytest.mark.parametrize(
    ("signal_number", "moment"),
    [
        pytest.param(signal.SIGINT, "starting", marks=pytest.mark.slow),
        (signal.SIGINT, "worker: "),
        pytest.param(signal.SIGTERM, "worker: ", marks=pytest.mark.slow),
    ],
)
def test_a_demo_that_is_stopped_leaves_nothing_behind(
    folder: Path, signal_number: signal.Signals, moment: str
) -> None:
    with Rehearsal(folder, "--visits=100", "--detectors=2", "--cadence=20") as rehearsal:
        if moment == "starting":
            wait_until(rehearsal.children, 60, lambda: rehearsal.output)
        else:
            rehearsal.wait_for(moment)
        children = rehearsal.children()
        rehearsal.process.send_signal(signal_number)
        assert rehearsal.process.wait(30) == 130
    assert rehearsal.output.splitlines()[-1] == "stopped"
    assert "Traceback" not in rehearsal.output
    assert list(folder.iterdir()) == []
    assert not any(each.is_running() for each in children)


def test_a_demo_that_keeps_running_prints_commands_that_work(folder: Path) -> None:
    options = ["--visits=1", "--detectors=4", "--cadence=1", "--bad=1", "--keep"]
    with Rehearsal(folder, *options) as rehearsal:
        rehearsal.wait_for("press Ctrl-C")
        lines = rehearsal.output.splitlines()
        pages = re.findall(r"http://\S+/\w+", "\n".join(lines[lines.index(lines[-1]) - 10 :]))
        assert {page.rpartition("/")[2] for page in pages} >= {"state", "readyz", "metrics"}
        for page in pages:
            with urllib.request.urlopen(page, timeout=10) as answer:
                assert answer.status == 200
        named = dict(line.split(None, 1) for line in lines if re.match(r"\w+:  ", line))
        assert Butler.from_config(named["repository:"]).collections.query("*")
        logs = [line.split()[1] for line in lines if line.startswith("log:")]
        assert all(Path(log).read_text() for log in logs)
        assert len(logs) == 2
        done = [execute(command, folder) for command in rehearsal.commands]
        assert [each.returncode for each in done] == [0, 0, 0, 0], done
        assert "LSSTCam/prompt/output-2026-11-23" in done[0].stdout
        assert (
            len([line for line in done[1].stdout.splitlines() if line.strip().startswith("0-")])
            == 4
        )
        assert "night: events=9" in done[2].stdout
        assert "missing=0" in done[3].stdout
        rehearsal.process.send_signal(signal.SIGINT)
        assert rehearsal.process.wait(30) == 0
    assert "demo: events=4 bad=4 dead_letters=4 " in rehearsal.output
    end = ["stopping, and removing what the night has made", "stopped"]
    assert rehearsal.output.splitlines()[-2:] == end


_TRY = "try, in another terminal:"


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_the_tutorial_kills_a_worker_and_nothing_is_lost(folder: Path) -> None:
    """Its block of commands starts the demo, which prints the commands of the other steps."""
    block = command_blocks()["docs/tutorial.md: 1. Start a night"].text
    shown = execute(f"MAKEFLAGS=n {block}", folder).stdout.splitlines()[-1]
    _, _, _, _, *options = shlex.split(shown)
    assert options == ["--kafka=apache", "--keep", "--workers", "2"]
    with Rehearsal(folder, *options) as rehearsal:
        rehearsal.wait_for("press Ctrl-C", 300)
        collections, letters, kill, send, audit = rehearsal.commands
        assert "prompt/output-2026-11-23" in execute(collections, folder).stdout
        assert execute(letters, folder).returncode == 0
        assert kill.startswith("kill -9 ")
        assert execute(kill, folder).returncode == 0
        assert execute(send, folder).returncode == 0
        end = "audit: written=576 expired=0 dead-letter=0 pending=0 missing=0\n"
        wait_until(lambda: execute(audit, folder).stdout == end, 120, lambda: rehearsal.output)
        assert end in (CHECKOUT / "docs/tutorial.md").read_text()
        assert "has ended (SIGKILL); the others go on" in rehearsal.output
        rehearsal.process.send_signal(signal.SIGINT)
        assert rehearsal.process.wait(30) == 0


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
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("demo: ")]
    counts = dict(field.split("=") for field in line.split()[1:])
    assert counts["events"] == "8"
    assert int(counts["duplicates"]) > 0
    assert counts["bad"] == counts["dead_letters"] != "0"
    assert (counts["missing"], counts["twice"]) == ("0", "0")
    mine = psutil.Process().children(recursive=True)
    assert not [p for p in mine if "faust" in " ".join(p.cmdline())]
