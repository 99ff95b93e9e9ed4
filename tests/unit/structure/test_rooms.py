"""Folders, modules and functions stay small; the Butler write does not import Kafka."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.worker import CHECKOUT

ROOMS = ("app", "agents", "models")
PRODUCT = (*ROOMS, "client/butler_writer_client")
MODULES = sorted(
    path.relative_to(CHECKOUT) for folder in PRODUCT for path in (CHECKOUT / folder).rglob("*.py")
)
FOLDERS = sorted({module.parent for module in MODULES if module.parts[0] in ROOMS})

#: Maximum number of modules in a folder, without its ``__init__``.
MOST_MODULES = 12

#: Maximum number of lines of a module, and of a function.
LONGEST_MODULE = 300
LONGEST_FUNCTION = 60


def dotted(module: Path) -> str:
    return ".".join(module.with_suffix("").parts).removesuffix(".__init__")


def functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse((CHECKOUT / module).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_folder_has_at_most_twelve_modules(folder: Path) -> None:
    modules = [m for m in MODULES if m.parent == folder and m.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES


@pytest.mark.parametrize("module", MODULES, ids=dotted)
def test_modules_and_functions_are_short(module: Path) -> None:
    assert len((CHECKOUT / module).read_text().splitlines()) <= LONGEST_MODULE
    for function in functions(module):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno < LONGEST_FUNCTION, function.name


def test_the_butler_write_the_intake_and_downstream_do_not_import_kafka() -> None:
    """Import every module of them in a fresh interpreter."""
    rooms = (("app", "butler"), ("app", "downstream"), ("app", "intake"))
    modules = [dotted(m) for m in MODULES if m.parts[:2] in rooms]
    assert len(modules) > 40
    program = (
        f"import importlib, sys; [importlib.import_module(name) for name in {modules}]; "
        "print(*sorted({'faust', 'aiokafka', 'mode'} & {n.partition('.')[0] for n in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_importing_the_packages_imports_no_module_of_theirs() -> None:
    program = (
        "import sys; import app, models, agents; "
        "print(*[n for n in sys.modules if n.startswith(('app.', 'models.', 'agents.', 'faust'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
