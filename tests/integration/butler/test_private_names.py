"""The private names of Butler that the service uses, and which of them has moved."""

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
from app.butler.private import (
    chain_rows,
    coverage,
    dataset_ids,
    datastores,
    dimension_rows,
    ingest_dates,
    probe,
    registry,
    removals,
    storage_classes,
)
from testbed.writing import write_window
from tests.support.events import Night
from tests.support.repositories import Repository, decoded

#: The modules that may use private names.
PRIVATE = [
    Path(str(module.__file__))
    for module in (
        chain_rows,
        coverage,
        dataset_ids,
        datastores,
        dimension_rows,
        ingest_dates,
        probe,
        registry,
        storage_classes,
        removals,
    )
]
MODULES = sorted(Path(app.butler.__path__[0]).rglob("*.py"))
ALLOWED_MODULES = {
    "lsst.daf.butler",
    "lsst.daf.butler.registry",
    "lsst.resources",
    "lsst.utils.iteration",
}


def is_set(value: object) -> bool:
    return isinstance(value, set)


def is_number(value: object) -> bool:
    return isinstance(value, int)


def has_columns(*names: str) -> Callable[[Any], bool]:
    """Return a check for a table that has these columns."""
    return lambda table: set(names) <= set(table.columns.keys())


Probe: TypeAlias = Callable[[Any, Any, Any], object]

#: Each private name of Butler that `app.butler.private` uses: how to reach it from a Butler, its
#: file datastore and a dataset ref, and what it must be.
NAMES: dict[str, tuple[Probe, Callable[[Any], bool]]] = {
    "Butler._registry": (lambda b, d, r: b._registry, bool),
    "Butler._registry._managers": (
        lambda b, d, r: b._registry._managers,
        lambda managers: all(hasattr(managers, name) for name in coverage._COVERED),
    ),
    "Butler._registry._db.getTimespanRepresentation": (
        lambda b, d, r: b._registry._db.getTimespanRepresentation().extract,
        callable,
    ),
    "Butler._registry._db._engine": (
        lambda b, d, r: b._registry._db._engine,
        lambda engine: engine.dialect.name == "sqlite",
    ),
    "Butler._registry._db._session": (
        lambda b, d, r: b._registry._db._session(),
        lambda session: hasattr(session, "__enter__"),
    ),
    "Butler._registry._db.transaction": (
        lambda b, d, r: inspect.signature(b._registry._db.transaction),
        lambda call: "savepoint" in call.parameters,
    ),
    "Butler._registry._db._transaction": (
        lambda b, d, r: b._registry._db._transaction,
        callable,
    ),
    "Butler._registry._managers.attributes": (
        lambda b, d, r: inspect.signature(b._registry._managers.attributes.set),
        lambda call: list(call.parameters) == ["name", "value", "force"],
    ),
    "Butler._registry._managers.collections._tables": (
        lambda b, d, r: b._registry._managers.collections._tables,
        lambda tables: {"collection", "run"} <= set(tables._fields),
    ),
    "Butler._registry._managers.collections._tables.collection_chain": (
        lambda b, d, r: b._registry._managers.collections._tables.collection_chain,
        has_columns("parent", "child", "position"),
    ),
    "Butler._registry._managers.collections._find_and_lock_collection_chain": (
        lambda b, d, r: inspect.signature(
            b._registry._managers.collections._find_and_lock_collection_chain
        ),
        lambda call: list(call.parameters) == ["collection_name", "exclusive_lock"],
    ),
    "Butler._registry._managers.datasets._reversed_renames": (
        lambda b, d, r: b._registry._managers.datasets._reversed_renames,
        lambda renames: renames == {},
    ),
    "Butler._registry._managers.datasets._record_from_row": (
        lambda b, d, r: inspect.signature(b._registry._managers.datasets._record_from_row),
        lambda call: list(call.parameters) == ["row"],
    ),
    "Butler._registry._managers.obscore": (
        lambda b, d, r: b._registry._managers.obscore,
        lambda obscore: obscore is None,
    ),
    "Butler._registry._managers.dimensions._overlap_tables": (
        lambda b, d, r: b._registry._managers.dimensions._overlap_tables["visit"],
        lambda tables: len(tables) == 2 and "skypix_index" in tables[1].columns,
    ),
    "Butler._registry._managers.dimensions._dimension_group_storage._idTable": (
        lambda b, d, r: b._registry._managers.dimensions._dimension_group_storage._idTable,
        has_columns("id"),
    ),
    "Butler._registry._managers.dimensions._dimension_group_storage._definitionTable": (
        lambda b, d, r: b._registry._managers.dimensions._dimension_group_storage._definitionTable,
        has_columns("dimension_name"),
    ),
    "Butler._registry._managers.collections.find": (
        lambda b, d, r: b._registry._managers.collections.find(r.run).key,
        is_number,
    ),
    "Butler._registry._managers.collections.getCollectionForeignKeyName": (
        lambda b, d, r: b._registry._managers.collections.getCollectionForeignKeyName(),
        lambda name: name == "collection_id",
    ),
    "Butler._registry._managers.datasets._static.dataset": (
        lambda b, d, r: b._registry._managers.datasets._static.dataset,
        has_columns("id", "dataset_type_id", "run_id", "ingest_date"),
    ),
    "Butler._registry._managers.datasets._run_key_column": (
        lambda b, d, r: b._registry._managers.datasets._run_key_column,
        lambda name: name == "run_id",
    ),
    "Butler._registry._managers.datasets._use_astropy_ingest_date": (
        lambda b, d, r: b._registry._managers.datasets._use_astropy_ingest_date,
        lambda value: isinstance(value, bool),
    ),
    "Butler._registry._managers.datasets._find_storage": (
        lambda b, d, r: b._registry._managers.datasets._find_storage("isr_log").dataset_type_id,
        is_number,
    ),
    "Butler._registry._managers.datasets._get_tags_table": (
        lambda b, d, r: b._registry._managers.datasets._get_tags_table(
            b._registry._managers.datasets._find_storage("isr_log").dynamic_tables
        ),
        has_columns(
            "dataset_type_id", "dataset_id", "collection_id", "instrument", "exposure", "detector"
        ),
    ),
    "Butler._registry._managers.datasets._cache.get_by_dimensions": (
        lambda b, d, r: (
            b._registry._managers.datasets._fetch_dataset_types(),
            b._registry._managers.datasets._cache.full,
            b._registry._managers.datasets._cache.get_by_dimensions(r.datasetType.dimensions),
        ),
        all,
    ),
    "Butler._registry._managers.datasets._fetch_dataset_types": (
        lambda b, d, r: b._registry._managers.datasets._fetch_dataset_types(),
        bool,
    ),
    "Butler._registry._db._metadata.remove_table": (
        lambda b, d, r: b._registry._db._metadata.remove_table,
        callable,
    ),
    "Butler._registry._managers.datasets._summaries.update": (
        lambda b, d, r: inspect.signature(b._registry._managers.datasets._summaries.update),
        lambda call: list(call.parameters) == ["collection", "dataset_type_ids", "summary"],
    ),
    "Butler._registry._managers.dimensions._tables": (
        lambda b, d, r: b._registry._managers.dimensions._tables["visit"],
        has_columns("instrument", "id"),
    ),
    "lsst.daf.butler.registry.CollectionSummary.add_datasets": (
        lambda b, d, r: import_module("lsst.daf.butler.registry").CollectionSummary.add_datasets,
        bool,
    ),
    "Butler._datastore": (lambda b, d, r: b._datastore, bool),
    "StorageClass._pytypeName": (
        lambda b, d, r: r.datasetType.storageClass._pytypeName,
        lambda name: name == "dict",
    ),
    "Butler._config.configFile": (
        lambda b, d, r: b._config.configFile,
        lambda uri: uri.basename() == "butler.yaml",
    ),
    "Datastore.isEphemeral": (lambda b, d, r: d.isEphemeral, lambda value: value is False),
    "Datastore.constraints": (
        lambda b, d, r: d.constraints.isAcceptable(r),
        lambda value: value is True,
    ),
    "Datastore.constraints._accept": (lambda b, d, r: d.constraints._accept, is_set),
    "Datastore.constraints._reject": (lambda b, d, r: d.constraints._reject, is_set),
    "FileDatastore.root": (lambda b, d, r: d.root.isLocal, bool),
    "FileDatastore._bridge.datastoreName": (
        lambda b, d, r: d._bridge.datastoreName,
        lambda name: name.startswith("FileDatastore"),
    ),
    "FileDatastore._bridge._tables.dataset_location": (
        lambda b, d, r: d._bridge._tables.dataset_location,
        has_columns("dataset_id", "datastore_name"),
    ),
    "FileDatastore._table._table": (
        lambda b, d, r: d._table._table,
        has_columns(
            "dataset_id", "path", "formatter", "storage_class", "component", "checksum", "file_size"
        ),
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
    "DatasetRef._id": (lambda b, d, r: r._id == r.id.int, lambda is_same: is_same is True),
    "DatasetRef._datastore_records": (
        lambda b, d, r: r._datastore_records,
        lambda given: not given,
    ),
    "DatasetRef._lookupNames": (lambda b, d, r: r._lookupNames(), bool),
    "lsst.daf.butler.datastore.stored_file_info.StoredFileInfo": (
        lambda b, d, r: import_module("lsst.daf.butler.datastore.stored_file_info").StoredFileInfo,
        lambda cls: (
            list(inspect.signature(cls).parameters)[:3] == ["formatter", "path", "storageClass"]
        ),
    ),
    "lsst.daf.butler.datastore.stored_file_info.StoredFileInfo.to_record": (
        lambda b, d, r: (
            import_module("lsst.daf.butler.datastore.stored_file_info")
            .StoredFileInfo("", "", None, None, None, -1, storage_class_name="")
            .to_record()
        ),
        lambda record: {"path", "formatter", "storage_class", "component"} < set(record),
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
    write_window(repository.writer(), decoded(Night(repository.root).event()))
    butler = repository.butler()
    (ref,) = butler.query_datasets("isr_log", collections="*", find_first=False)
    return butler, ref


@pytest.mark.parametrize("name", NAMES)
def test_a_private_name_is_where_the_service_expects_it(
    written: tuple[Butler, DatasetRef], name: str
) -> None:
    probe, expected = NAMES[name]
    butler, ref = written
    moved = (
        f"{name} has moved in lsst.daf.butler {butler_version.__version__}: see app/butler/private"
    )
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


def test_every_private_name_in_use_is_known_to_this_test() -> None:
    known = {part for name in NAMES for part in name.split(".") if part.startswith("_")}
    assert set().union(*map(foreign_private_names, PRIVATE)) == known


@pytest.mark.parametrize(
    "module",
    [module for module in MODULES if module not in PRIVATE],
    ids=lambda module: module.name,
)
def test_no_other_module_uses_private_names(module: Path) -> None:
    assert foreign_private_names(module) == set()
    assert imported(module) <= ALLOWED_MODULES


def test_every_exempt_module_uses_private_names() -> None:
    assert all(map(foreign_private_names, PRIVATE))
