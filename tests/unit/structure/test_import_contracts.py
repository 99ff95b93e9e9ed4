"""Each import contract of ``make lint`` detects the imports that it forbids."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from testbed.worker import CHECKOUT

CONTRACTS = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]

#: For each contract, modules and imports that break it.
FORBIDDEN = [
    ("layers", "app/parts.py", "import agents.steps"),
    ("layers", "models/fields.py", "import app.errors"),
    ("rooms", "app/settings/__init__.py", "import app.kafka.errors"),
    ("rooms", "app/brand_new.py", "import app.errors"),
    ("rooms", "app/butler/policy.py", "from app.intake import ledger"),
    ("rooms", "app/butler/policy.py", "from app.downstream import rules"),
    ("rooms", "app/downstream/rules.py", "from app.settings import butler"),
    ("no-cycles", "app/butler/outcome.py", "from app.butler.events import parsed"),
    (
        "no-cycles",
        "app/kafka/connection.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import app.kafka.watchdog",
    ),
    ("no-faust-in-the-write", "app/butler/writer.py", "import faust"),
    ("no-faust-in-the-write", "app/butler/writer.py", "import models.dead_letter"),
    ("no-faust-in-the-write", "models/fields.py", "import faust"),
    ("no-faust-in-the-write", "app/intake/windows.py", "from faust.windows import TumblingWindow"),
    ("no-faust-in-the-write", "app/errors.py", "import aiokafka"),
    ("pure-intake", "app/intake/ledger.py", "import time"),
    ("pure-intake", "app/intake/ledger.py", "import asyncio"),
    ("pure-intake", "app/intake/received.py", "from lsst.resources import ResourcePath"),
    ("no-faust-in-the-write", "app/downstream/rules.py", "import models.dead_letter"),
    ("pure-downstream", "app/downstream/waiting.py", "import time"),
    ("pure-downstream", "app/downstream/rules_file.py", "from sqlalchemy import select"),
    ("pure-downstream", "app/downstream/selector.py", "import app.butler.writer"),
    ("one-door-to-aiokafka", "app/operations/audit.py", "import aiokafka"),
    ("one-door-to-aiokafka", "agents/collect.py", "from aiokafka.errors import KafkaError"),
    ("client-alone", "client/butler_writer_client/writer.py", "import models.fields"),
    ("client-alone", "client/butler_writer_client/kafka.py", "import app.kafka.errors"),
    ("one-door-to-aiokafka", "testbed/ports.py", "import aiokafka"),
    ("light-packages", "app/__init__.py", "import faust"),
    ("light-packages", "app/__init__.py", "import aiokafka"),
    ("light-packages", "models/__init__.py", "import faust"),
    ("light-packages", "app/butler/__init__.py", "import lsst.daf.butler"),
    ("light-packages", "app/downstream/__init__.py", "import lsst.daf.butler"),
    ("no-tools-in-the-product", "app/topics.py", "import simulator.camera"),
    ("no-tools-in-the-product", "agents/collect.py", "import testbed.waiting"),
    ("no-tools-in-the-product", "models/causes.py", "import bench.measuring"),
    ("no-tools-in-the-product", "client/butler_writer_client/testing.py", "import tests"),
    ("tools", "simulator/night.py", "import tests.support.events"),
    ("tools", "bench/workload.py", "import tests.support.events"),
    ("tools", "testbed/ports.py", "import simulator.camera"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the source."""
    folders = ["agents", "app", "bench", "client", "models", "simulator", "testbed", "tests"]
    for folder in folders:
        shutil.copytree(
            CHECKOUT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Check the contracts of a copy of the source, and not of the checkout."""
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", *arguments],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{folder / 'client'}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_copy_of_the_source_keeps_all_contracts(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert f"{len(CONTRACTS)} kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    FORBIDDEN,
    ids=[f"{contract}-{module}" for contract, module, _ in FORBIDDEN],
)
def test_a_forbidden_import_breaks_its_contract(
    copy: Path, contract: str, module: str, line: str
) -> None:
    path = copy / module
    source = path.read_text() if path.exists() else ""
    path.write_text(f"{source}\n{line}\n")
    done = lint(copy, "--contract", contract)
    assert done.returncode == 1, done.stdout
    assert "1 broken" in done.stdout


def test_every_module_of_app_but_the_door_is_kept_from_aiokafka() -> None:
    (door,) = [contract for contract in CONTRACTS if contract["id"] == "one-door-to-aiokafka"]
    modules = {
        f"app.{entry.stem}"
        for entry in (CHECKOUT / "app").iterdir()
        if not entry.name.startswith("__")
    }
    assert modules - set(door["source_modules"]) == {"app.kafka"}


def test_every_contract_has_an_import_that_breaks_it() -> None:
    assert {contract for contract, _, _ in FORBIDDEN} == {contract["id"] for contract in CONTRACTS}
