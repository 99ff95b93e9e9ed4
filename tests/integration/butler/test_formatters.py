"""Formatters are only names: the service never imports them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import lsst
import pytest

from app.butler.policy import WriteMethod
from testbed.writing import write_window
from tests.support.events import Night, make_repository
from tests.support.repositories import Repository, decoded, written

MODULE = "lsst.forbidden.formatters"
NAME = f"{MODULE}.Formatter"
EXECUTED = "executed"

both_methods = pytest.mark.parametrize("write_method", list(WriteMethod))


def names(repository: Repository) -> set[str]:
    """Return the names of the formatters in the datastore records."""
    return set(repository.sql("SELECT formatter FROM file_datastore_records"))


@both_methods
def test_the_name_of_a_formatter_that_is_not_installed_is_stored(
    sqlite_repository: Repository, write_method: WriteMethod
) -> None:
    name = "lsst.no_such_package._private.Formatter"
    event = Night(sqlite_repository.root).event()
    for dataset in event["datasets"]:
        dataset["formatter"] = name
    before = set(sys.modules)
    written(write_window(sqlite_repository.writer(write_method=write_method), decoded(event)))
    assert names(sqlite_repository) == {name}
    assert not [new for new in set(sys.modules) - before if "no_such_package" in new]


@pytest.fixture
def forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module with an allowed name that creates a file when it is executed."""
    package = tmp_path / "installed" / "lsst" / "forbidden"
    package.mkdir(parents=True)
    trace = tmp_path / EXECUTED
    (package / "__init__.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    (package / "formatters.py").write_text("class Formatter: pass\n")
    monkeypatch.setattr(lsst, "__path__", [*lsst.__path__, str(package.parent)])
    importlib.invalidate_caches()
    assert importlib.util.find_spec("lsst.forbidden"), "it could be imported"
    return trace


@both_methods
def test_a_formatter_that_is_installed_is_not_executed(
    sqlite_repository: Repository, write_method: WriteMethod, forbidden: Path
) -> None:
    writer = sqlite_repository.writer(write_method=write_method)
    event = Night(sqlite_repository.root).event()
    for dataset in event["datasets"]:
        dataset["formatter"] = NAME
    for _ in range(2):
        written(write_window(writer, decoded(event)))
    assert names(sqlite_repository) == {NAME}
    assert not forbidden.exists()
    assert not [name for name in sys.modules if name.startswith("lsst.forbidden")]


@both_methods
def test_a_formatter_in_the_repositorys_configuration_is_not_executed(
    tmp_path: Path, write_method: WriteMethod, forbidden: Path
) -> None:
    config = {"datastore": {"formatters": {"isr_log": NAME}}}
    make_repository(tmp_path / "repository", config=config).close()
    repository = Repository(tmp_path / "repository")
    event = Night(repository.root).event()
    for dataset in event["datasets"]:
        dataset["formatter"] = None
    try:
        written(write_window(repository.writer(write_method=write_method), decoded(event)))
        assert NAME in names(repository)
    finally:
        repository.close()
    assert not forbidden.exists()
    assert not [name for name in sys.modules if name.startswith("lsst.forbidden")]
