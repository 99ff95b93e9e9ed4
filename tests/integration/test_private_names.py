"""The private names of Butler that the fast path uses: which of them has moved."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from lsst.daf.butler import Butler, DatasetRef
from lsst.daf.butler import version as butler_version

import app.butler
from app.butler import records
from tests.events import Night
from tests.repositories import Repository, decoded

MODULES = sorted(Path(app.butler.__path__[0]).glob("*.py"))
ALLOWED_MODULES = {
    "lsst.daf.butler",
    "lsst.daf.butler.registry",
    "lsst.resources",
    "lsst.utils.iteration",
}


def is_set(value: object) -> bool:
    return isinstance(value, set)


Probe: TypeAlias = Callable[[Any, Any, Any], object]

#: Each name that records.py uses and that Butler has promised to nobody: how it is come by (of a
#: Butler, its datastore of files, and a dataset's ref), and what it must be.
NAMES: dict[str, tuple[Probe, Callable[[Any], bool]]] = {
    "Butler._registry": (lambda b, d, r: b._registry, bool),
    "Butler._registry._managers": (
        lambda b, d, r: b._registry._managers,
        lambda managers: all(hasattr(managers, name) for name in records._COVERED),
    ),
    "Butler._registry._db._engine": (
        lambda b, d, r: b._registry._db._engine,
        lambda engine: engine.dialect.name == "sqlite",
    ),
    "Butler._registry._importDatasets": (
        lambda b, d, r: b._registry._importDatasets,
        lambda method: {"datasets", "expand"} <= set(inspect.signature(method).parameters),
    ),
    "Butler._datastore": (lambda b, d, r: b._datastore, bool),
    "Datastore.isEphemeral": (lambda b, d, r: d.isEphemeral, lambda value: value is False),
    "Datastore.constraints": (
        lambda b, d, r: d.constraints.isAcceptable(r),
        lambda value: value is True,
    ),
    "Datastore.constraints._accept": (lambda b, d, r: d.constraints._accept, is_set),
    "Datastore.constraints._reject": (lambda b, d, r: d.constraints._reject, is_set),
    "FileDatastore.root": (lambda b, d, r: d.root.isLocal, bool),
    "FileDatastore.name": (lambda b, d, r: d.name, lambda name: name.startswith("FileDatastore")),
    "FileDatastore._table.name": (
        lambda b, d, r: d._table.name,
        lambda name: name == "file_datastore_records",
    ),
    "FileDatastore._table.fetch": (
        lambda b, d, r: [row["path"] for row in d._table.fetch(dataset_id=[r.id])],
        lambda paths: len(paths) == 1,
    ),
    "FileDatastore.import_records": (
        lambda b, d, r: d.import_records,
        lambda method: next(iter(inspect.signature(method).parameters)) == "data",
    ),
    "FileDatastore.formatterFactory._mappingFactory._registry": (
        lambda b, d, r: d.formatterFactory._mappingFactory._registry,
        lambda registry: all("type" in entry for entry in registry.values()),
    ),
    "FileDatastore.formatterFactory._mappingFactory._getNameKey": (
        lambda b, d, r: [
            d.formatterFactory._mappingFactory._getNameKey(name)
            in d.formatterFactory._mappingFactory._registry
            for name in r._lookupNames()
        ],
        any,
    ),
    "DatasetRef._lookupNames": (lambda b, d, r: r._lookupNames(), bool),
    "lsst.daf.butler.datastore.record_data.DatastoreRecordData": (
        lambda b, d, r: import_module("lsst.daf.butler.datastore.record_data").DatastoreRecordData,
        lambda cls: "records" in inspect.signature(cls).parameters,
    ),
    "lsst.daf.butler.datastore.stored_file_info.StoredFileInfo": (
        lambda b, d, r: import_module("lsst.daf.butler.datastore.stored_file_info").StoredFileInfo,
        lambda cls: (
            list(inspect.signature(cls).parameters)[:3] == ["formatter", "path", "storageClass"]
        ),
    ),
    "lsst.daf.butler.datastore.stored_file_info.StoredDatastoreItemInfo": (
        lambda b, d, r: (
            import_module("lsst.daf.butler.datastore.stored_file_info").StoredDatastoreItemInfo
        ),
        inspect.isclass,
    ),
    "lsst.daf.butler.datastores.chainedDatastore.ChainedDatastore": (
        lambda b, d, r: (
            import_module("lsst.daf.butler.datastores.chainedDatastore").ChainedDatastore
        ),
        lambda cls: {"datastores", "datastoreConstraints"} <= set(cls.__annotations__),
    ),
}


@pytest.fixture(scope="module")
def written(
    prepared_sqlite: Repository, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Butler, DatasetRef]:
    """A Butler, and a dataset that it has."""
    repository = prepared_sqlite.copy(tmp_path_factory.mktemp("private") / "repository")
    repository.writer().write(decoded(Night(repository.root).event()))
    butler = repository.butler()
    (ref,) = butler.query_datasets("isr_log", collections="*", find_first=False)
    return butler, ref


@pytest.mark.parametrize("name", NAMES)
def test_a_private_name_is_where_the_fast_path_expects_it(
    written: tuple[Butler, DatasetRef], name: str
) -> None:
    probe, expected = NAMES[name]
    butler, ref = written
    moved = f"{name} has moved in lsst.daf.butler {butler_version.__version__}: see records.py"
    try:
        found = probe(butler, butler._datastore, ref)
    except (AttributeError, ImportError, KeyError, TypeError) as error:
        pytest.fail(f"{moved} ({type(error).__name__}: {error})")
    assert expected(found), f"{moved} (it is {found!r})"


def foreign_private_names(module: Path) -> set[str]:
    """Return the private names that a module uses of others."""
    tree = ast.parse(module.read_text())
    own = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in own
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }


def imported(module: Path) -> set[str]:
    """Return the modules of LSST that a module imports from."""
    return {
        node.module
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lsst")
    } - {None}  # type: ignore[return-value]


def test_every_private_name_of_the_fast_path_is_known_to_this_test() -> None:
    known = {part for name in NAMES for part in name.split(".") if part.startswith("_")}
    assert foreign_private_names(Path(records.__file__)) == known


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_no_other_module_uses_private_names(module: Path) -> None:
    if module != Path(records.__file__):
        assert foreign_private_names(module) == set()
        assert imported(module) <= ALLOWED_MODULES
