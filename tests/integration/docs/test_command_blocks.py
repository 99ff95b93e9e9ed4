"""The command blocks of README.md, CONTRIBUTING.md and docs/ work as they are printed.

The service is installed as README.md says. Its commands run in the checkout, where Python finds the
packages of both the checkout and the wheel, and in a folder that has neither.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
import yaml

from testbed.cluster import Cluster
from testbed.ports import free_port
from testbed.process import ChildProcess
from testbed.waiting import wait_until
from testbed.worker import CHECKOUT
from tests.support.checkouts import clone_checkout
from tests.support.command_blocks import command_blocks
from tests.support.deployment import Deployment
from tests.support.events import Night

BLOCKS = command_blocks()

RUN_IT = "README.md: Run it"

#: Commands for operators: a worker has set events aside before they are executed.
OPERATORS = [
    "docs/dead-letters.md: List, show and replay them",
    "docs/reliability.md: Check that everything is there",
    "docs/staging.md: Leftovers",
    "docs/commands.md: check",
    "docs/commands.md: status",
    "docs/commands.md: chains",
    "docs/releases.md: Which version runs",
]

#: Executed once all workers have stopped; the second one when the first has set the group back.
REWIND = "docs/commands.md: rewind"
SKIP = "docs/commands.md: skip"

PODS = "docs/client.md: The pods' side: `butler-writer-client`"

FRAGMENT = "CONTRIBUTING.md: Changelog"

#: tests/integration/simulator/test_demo.py executes it.
TUTORIAL = "docs/tutorial.md: 1. Start a night"

#: Blocks that are not executed, and why; their lines are checked as far as possible.
MAKE_BLOCKS = {
    "README.md: Try it": "takes minutes, and contains this test; `make -n` runs instead",
    "CONTRIBUTING.md: Set up": "takes minutes, and contains this test; `make -n` runs instead",
    "docs/performance.md: Performance": "takes an hour; `make -n` runs instead",
}
DOCKER_BLOCKS = {
    "README.md: With Docker Compose": "needs a Docker engine",
    "docs/read-replica.md: With Docker Compose": "needs a Docker engine",
}
NOT_EXECUTED = MAKE_BLOCKS | DOCKER_BLOCKS

#: The position of the last dead letter that docs/dead-letters.md shows.
LETTERS = 18


def run(
    text: str, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Execute a block, up to its first error."""
    return subprocess.run(
        ["sh", "-e", "-c", text],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


def check(name: str, folder: Path, environment: Mapping[str, str]) -> None:
    done = run(BLOCKS[name].text, folder, environment)
    assert done.returncode == 0, f"{name} in {folder}:\n{done.stdout}{done.stderr}"


class Shell:
    """A shell that executes the block of README.md, whose last command is a worker."""

    def __init__(self, text: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self._process = ChildProcess(
            ["sh", "-e", "-c", text],
            log=folder / "shell.log",
            env={**environment, "WEB_PORT": str(self.port)},
            cwd=folder,
        )

    def wait_ready(self, timeout: float) -> None:
        """Wait until the worker is ready."""
        process = self._process

        def ready() -> bool:
            assert process.returncode is None, process.log_tail()
            try:
                url = f"http://127.0.0.1:{self.port}/readyz"
                with urllib.request.urlopen(url, timeout=5) as answer:
                    return bool(answer.status == 200)
            except (OSError, urllib.error.HTTPError):
                return False

        wait_until(ready, timeout, process.log_tail)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()

    def stop_worker(self) -> None:
        """Ask the worker to stop, and wait for the end of the shell, which has its exit code."""
        shell = psutil.Process(self._process.pid)
        worker = next(iter(shell.children()), shell)
        worker.terminate()
        assert self._process.wait(60) == 0, self._process.log_tail()


class Installation:
    """The service as README.md installs it, and a deployment that its ``.env`` names."""

    def __init__(self, folder: Path, deployment: Deployment) -> None:
        self.checkout = clone_checkout(folder / "checkout")
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.deployment = deployment
        self.programs = self.checkout / ".venv" / "bin"
        self.environment = {
            "PATH": f"{self.programs}:/usr/local/bin:/usr/bin:/bin",
            # pip's cache, so that a run does not download everything again.
            "HOME": os.environ.get("HOME", str(folder)),
            "PIP_NO_COMPILE": "1",
            "PYTHONUNBUFFERED": "1",
            "BUTLER_WRITER_DATA_DIRECTORY": str(folder / "data"),
        }
        example = self.checkout / ".env.example"
        example.write_text(with_values(example.read_text(), deployment.environment))

    def worker(self, text: str, folder: Path) -> Shell:
        """Execute a block whose last command is a worker."""
        return Shell(text, folder, self.environment)


def with_values(example: str, values: Mapping[str, str]) -> str:
    """Edit ``.env.example`` as an operator edits ``.env``: only names that it has."""
    for name, value in values.items():
        example, found = re.subn(rf"(?m)^#?{name}=.*$", f"{name}={value}", example)
        assert found == 1, name
    return example


@pytest.fixture
def installation(kafka: Cluster, topic_name: str, tmp_path: Path) -> Installation:
    staging = tmp_path / "staging"
    staging.mkdir()
    settings = {
        "BUTLER_WRITER_MISSING_FILE_WAIT": "0.1",
        "BUTLER_WRITER_STAGING_ROOTS": str(staging),
    }
    return Installation(tmp_path, Deployment(kafka, topic_name, tmp_path, settings=settings))


def set_events_aside(deployment: Deployment) -> None:
    """Send one good event, and as many without a file as there are letters."""
    night = Night(deployment.root)
    events = [night.event(1 + number // 5, number % 5) for number in range(LETTERS + 1)]
    for event in events[1:]:
        event["datasets"][0]["path"] += ".lost"
    deployment.send(*events)
    deployment.wait_done()
    assert len(deployment.dead_letters()) == LETTERS
    assert len(deployment.announcements()) == 1


def start_from_the_wheel_alone(own: Installation) -> None:
    """Start a worker with the same commands in a folder without the service's packages."""
    installs, copies, *starts = BLOCKS[RUN_IT].text.splitlines()
    assert "pip install" in installs
    assert copies.startswith("cp .env.example .env ")
    (own.elsewhere / ".venv").symlink_to(own.checkout / ".venv")
    (own.elsewhere / ".env.example").write_text((own.checkout / ".env.example").read_text())
    with own.worker("\n".join([copies, *starts]), own.elsewhere) as shell:
        shell.wait_ready(90)
        shell.stop_worker()


def test_every_block_is_executed_or_listed_with_its_reason() -> None:
    assert {RUN_IT, *OPERATORS, REWIND, SKIP, PODS, FRAGMENT, TUTORIAL, *NOT_EXECUTED} == set(
        BLOCKS
    )
    assert len(NOT_EXECUTED) <= 5


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_the_service_is_installed_and_used_as_the_documents_say(
    installation: Installation,
) -> None:
    """One test, because the installation takes half a minute."""
    own = installation
    with own.worker(BLOCKS[RUN_IT].text, own.checkout) as shell:
        shell.wait_ready(200)
        set_events_aside(own.deployment)
        folder_with_a_file = own.deployment.root / "LSSTCam/prompt/output-2026-11-23"
        folder_with_a_file.mkdir(parents=True)
        (folder_with_a_file / "leftover.json").touch()
        environment = {**own.environment, **own.deployment.environment}
        with ThreadPoolExecutor(2) as pool:
            for folder in (own.checkout, own.elsewhere):
                list(pool.map(lambda name, at=folder: check(name, at, environment), OPERATORS))
        shell.stop_worker()
    for stopped in (REWIND, SKIP):
        check(stopped, own.checkout, environment)
    start_from_the_wheel_alone(own)
    check(PODS, own.checkout, own.environment)


def test_a_changelog_fragment_is_made_in_a_fresh_checkout(tmp_path: Path) -> None:
    checkout = clone_checkout(tmp_path / "checkout")
    (checkout / ".venv").symlink_to(Path(sys.executable).parent.parent)
    before = set((checkout / "changelog.d").iterdir())

    check(FRAGMENT, checkout, {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})

    assert len(set((checkout / "changelog.d").iterdir()) - before) == 1


@pytest.mark.parametrize("name", [*MAKE_BLOCKS, TUTORIAL])
def test_every_make_target_exists(name: str) -> None:
    environment = {"PATH": os.environ["PATH"], "MAKEFLAGS": "n"}
    done = run(BLOCKS[name].text, CHECKOUT, environment)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("make") for line in BLOCKS[name].text.splitlines())


@pytest.mark.parametrize("name", DOCKER_BLOCKS)
def test_every_profile_and_service_exists(name: str) -> None:
    services: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    services = services["services"]
    profiles = {profile for own in services.values() for profile in own.get("profiles", [])}
    for line in BLOCKS[name].text.splitlines():
        words = shlex.split(line, comments=True)
        assert words[:2] == ["docker", "compose"]
        given = [words[n + 1] for n, word in enumerate(words) if word == "--profile"]
        assert set(given) <= profiles
        scaled = [words[n + 1] for n, word in enumerate(words) if word == "--scale"]
        assert {scale.partition("=")[0] for scale in scaled} <= services.keys()
        if "run" in words:
            assert [word for word in words if word in services], line
