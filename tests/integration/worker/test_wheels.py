"""Both wheels, each in a fresh virtual environment, used from another working folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from models.fields import describe_shape_errors
from models.prompt_output import PromptOutput
from testbed.embedded import EmbeddedBroker
from testbed.worker import CHECKOUT, Worker
from tests.support.checkouts import clone_checkout
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids, stored_ids

PROGRAMS = Path(sys.executable).parent

#: What pages are made of, besides modules.
FILES = ("app/web/static/", "app/web/templates/")

#: A pod: transfers outputs of its own Butler to another folder, and sends them as an event.
POD = """
    import sys
    from pathlib import Path
    from lsst.daf.butler import Butler, DatasetType
    from butler_writer_client import KafkaTopic, PromptOutputWriter

    class Topic:
        max_event_bytes = 10**6

        def send(self, values):
            Path("event.json").write_bytes(*values)
            return [None]

    Butler.makeRepo("pod")
    pod = Butler.from_config("pod", run="LSSTCam/prompt/output-2026-11-23/ApPipe")
    pod.registry.insertDimensionData("instrument", {"name": "LSSTCam"})
    seeing = DatasetType("seeing", ["instrument"], "StructuredDataDict", universe=pod.dimensions)
    pod.registry.registerDatasetType(seeing)
    output = pod.put({"fwhm": 0.7}, seeing, instrument="LSSTCam")
    records = {"instrument": pod.query_dimension_records("instrument")}
    Path("central").mkdir()
    PromptOutputWriter(Topic(), "central").transfer_outputs(pod, records, [output])

    (undelivered,) = KafkaTopic({"bootstrap.servers": "127.0.0.1:1"}, "t", timeout=0.1).send([b""])
    assert undelivered.in_doubt
    try:
        PromptOutputWriter(Topic(), "s3://bucket/")
    except ModuleNotFoundError as exc:
        assert str(exc) == (
            "root='s3://bucket/': s3 needs boto3, which is not installed: "
            "pip install 'butler-writer-client[s3]'"
        )
    else:
        raise AssertionError
    assert not {"faust", "app", "agents", "models"} & set(sys.modules)
"""


@dataclass
class Environment:
    """A virtual environment, and an unrelated working folder."""

    root: Path
    folder: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment in the working folder."""
        return subprocess.run(
            [self.root / "bin" / program, *arguments],
            cwd=self.folder,
            env={"HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )


def install(folder: Path, *what: str | Path) -> Environment:
    """Create an environment if there is none, and install packages into it."""
    environment = Environment(folder / "environment", folder / "elsewhere")
    if not environment.root.exists():
        environment.folder.mkdir()
        run("uv", "venv", "--python", sys.executable, environment.root)
    python = environment.root / "bin" / "python"
    run("uv", "pip", "install", "--python", python, *what)
    return environment


def run(program: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [PROGRAMS / program if (PROGRAMS / program).exists() else program, *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def build(project: Path, target: Path) -> Path:
    """Build a project's wheel."""
    options = ["--no-index", "--no-deps", "--no-build-isolation", f"--wheel-dir={target}"]
    run("pip", "wheel", "--quiet", *options, project)
    (wheel,) = target.glob("*.whl")
    return wheel


def copied(source: Path, target: Path) -> Path:
    """Copy a project without its build products."""
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "build", "__pycache__", "tests")
    return Path(shutil.copytree(source, target, ignore=ignored))


def test_the_clients_wheel_needs_only_butler_and_kafka(tmp_path: Path) -> None:
    wheel = build(copied(CHECKOUT / "client", tmp_path / "client"), tmp_path)
    environment = install(tmp_path, wheel, "--constraint", "requirements-dev.lock")
    assert not list(environment.root.glob("lib/*/site-packages/*faust*"))
    asks = (
        "from importlib.metadata import requires as r; print('\\n'.join(r('butler-writer-client')))"
    )
    required = environment.run("python", "-c", asks).stdout.splitlines()
    assert sorted(line for line in required if "extra ==" not in line) == [
        "confluent-kafka>=2.6",
        "lsst-daf-butler>=30",
    ]

    pod = environment.run("python", "-c", textwrap.dedent(POD))

    assert pod.returncode == 0, pod.stderr
    event = PromptOutput.decode((environment.folder / "event.json").read_bytes())
    assert describe_shape_errors(event.asdict()) == ""
    (file,) = event.datasets
    assert (environment.folder / "central" / file["path"]).exists()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return clone_checkout(tmp_path / "clone")


def modules_of(folder: Path) -> set[str]:
    return {
        str(file.relative_to(folder))
        for package in ("agents", "app", "models")
        for file in (folder / package).rglob("*.py")
    }


def files_of_pages(folder: Path) -> set[str]:
    """Return the templates, and the files that they refer to."""
    return {str(file.relative_to(folder)) for each in FILES for file in (folder / each).iterdir()}


def check_writes(deployment: Deployment, checkout: Path, programs: Path) -> None:
    """Check that a worker of these programs writes an event."""
    event = Night(deployment.root).event(1, 0)
    worker = Worker(deployment.environment, checkout=checkout, programs=programs)
    with worker:
        worker.wait_ready()
        deployment.send(event)
        deployment.wait_done()
        worker.term()
        assert worker.wait() == 0
    assert set(stored_ids(deployment.fresh_butler())) == dataset_ids(event)


def test_the_checkout_starts_a_worker_the_wheel_is_whole_and_a_foreign_package_is_named(
    clone: Path, tmp_path: Path, embedded_broker: EmbeddedBroker, topic_name: str
) -> None:
    environment = install(tmp_path, "--require-hashes", "--requirement", "requirements.lock")
    # Only the dependencies are installed.  docs/test_command_blocks.py starts the wheel's worker.
    check_writes(Deployment(embedded_broker, topic_name, tmp_path), clone, environment.root / "bin")

    wheel = build(clone, tmp_path)
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert {name for name in names if name.endswith(".py")} == modules_of(clone)
        assert {name for name in names if name.startswith(FILES)} == files_of_pages(clone)
    install(tmp_path, "--no-deps", wheel)

    listed = environment.run("faust", "--json", "-A", "app", "agents", "--local")

    assert listed.returncode == 0, listed.stderr
    assert {agent["name"] for agent in json.loads(listed.stdout)} == {
        "@agents.chains.chains",
        "@agents.collect.collect",
        "@agents.flush.flush",
    }

    decoy = tmp_path / "decoy"
    (decoy / "agents").mkdir(parents=True)
    (decoy / "agents" / "spy.py").write_text("raise AssertionError('imported')")
    (decoy / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "decoy"\nversion = "1"\n[tool.setuptools]\npackages = ["agents"]\n'
    )
    install(tmp_path, "--no-deps", build(decoy, decoy))

    refused = environment.run("faust", "-A", "app", "worker")

    assert refused.returncode == 1
    assert refused.stderr == (
        "butler-writer: the package 'agents' is also installed by decoy; "
        "install the service into its own environment\n"
    )
