"""Parity: the service writes the same tables as Butler's public interface."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID, uuid5

import pytest
from lsst.daf.butler import (
    Butler,
    DataCoordinate,
    DatasetRef,
    DatasetType,
    DimensionRecord,
    FileDataset,
    SerializedDatasetType,
    SerializedDimensionRecord,
)
from lsst.daf.butler.datastores.fileDatastore import FileDatastore
from lsst.daf.butler.formatters.json import JsonFormatter
from structlog.testing import capture_logs

from app.butler.outcome import Written
from app.butler.policy import WriteMethod
from app.butler.private.coverage import uncovered_parts
from app.butler.private.registry import engine_of
from testbed.tables import Tables, check_same, tables_of
from testbed.writing import write_window
from tests.support.events import RUN, UNIVERSE_7, Night, make_repository
from tests.support.repositories import Repository, decoded

Event: TypeAlias = dict[str, Any]

_PACKAGE = "lsst.daf.butler"
_FILES = f"{_PACKAGE}.datastores.fileDatastore.FileDatastore"
_DATASETS = f"{_PACKAGE}.registry.datasets.byDimensions.ByDimensionsDatasetRecordStorageManagerUUID"

#: Two file datastores that accept different datasets, by their own constraints and the chain's.
CHAINED = {
    "datastore": {
        "cls": f"{_PACKAGE}.datastores.chainedDatastore.ChainedDatastore",
        "datastores": [
            {
                "datastore": {
                    "cls": _FILES,
                    "records": {"table": "records_0"},
                    "constraints": {"reject": ["preload_log"]},
                }
            },
            {"datastore": {"cls": f"{_PACKAGE}.datastores.inMemoryDatastore.InMemoryDatastore"}},
            {
                "datastore": {
                    "cls": _FILES,
                    "records": {"table": "records_2"},
                    "constraints": {"accept": ["all"], "reject": ["preload_metadata"]},
                }
            },
        ],
        "datastore_constraints": [
            {"constraints": {"reject": ["isr_metadata"]}},
            {},
            {"constraints": {"reject": ["calibrate_log"]}},
        ],
    }
}

OBSCORE = {
    "registry": {
        "managers": {
            "obscore": {
                "cls": f"{_PACKAGE}.registry.obscore.ObsCoreLiveTableManager",
                "config": {
                    "version": 0,
                    "facility_name": "Rubin",
                    "obs_collection": "prompt",
                    "collection_type": "RUN",
                    "dataset_types": {
                        "isr_log": {"dataproduct_type": "image", "calib_level": 1},
                        "single_visit_summary": {"dataproduct_type": "other", "calib_level": 2},
                    },
                },
            }
        }
    }
}


both_methods = pytest.mark.parametrize("path", list(WriteMethod))


def datasets_manager(version: str) -> dict[str, Any]:
    return {"registry": {"managers": {"datasets": {"cls": _DATASETS, "schema_version": version}}}}


LAYOUTS: dict[str, dict[str, Any]] = {
    "files": {},
    "chained": {"config": CHAINED},
    "universe 7": {"universe": UNIVERSE_7},
    "datasets 1.0.0": {"config": datasets_manager("1.0.0")},
    "datasets 2.0.0": {"config": datasets_manager("2.0.0")},
    "obscore": {"config": OBSCORE},
}

#: The roots of the datastores of a layout.
ROOTS = {"chained": ["FileDatastore_0", "FileDatastore_2"]}

Make: TypeAlias = Callable[[str], Repository]


@pytest.fixture(scope="module", params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def make(layout: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Copies of a repository on SQLite."""
    folder = tmp_path_factory.mktemp("parity")
    original = Repository(folder / "original")
    make_repository(original.root, **LAYOUTS[layout]).close()
    copies: list[Repository] = []

    def copy(name: str) -> Repository:
        copies.append(original.copy(folder / name))
        return copies[-1]

    yield copy
    for repository in copies:
        repository.close()


@dataclass
class Plain:
    """A repository that Butler's public interface has written to."""

    repository: Repository
    windows: list[list[Event]]
    tables: Tables


@pytest.fixture(scope="module")
def plain(make: Make, layout: str) -> Plain:
    repository = make("plain")
    windows = events(repository, layout)
    write_plainly(repository, windows)
    return Plain(repository, windows, tables(repository))


def rename(event: Event, roots: list[Path]) -> None:
    """Give some files of an event other paths, in different notations."""
    first = roots[0].resolve()
    for dataset in event["datasets"]:
        (ref,) = dataset["refs"].values()
        run = ref["run"]
        ways = {  # the file's path, and the event's; an absolute path has one root
            "isr_log": (f"{run}/a file/with space.json", f"{run}/a file/with space.json"),
            "preload_log": (f"{run}/plain/../a+b=c,d.json", f"{run}/plain/../a+b=c,d.json"),
            "preload_metadata": (f"{run}/absolute.json", f"{first}/{run}/absolute.json"),
            "calibrate_log": (
                f"{run}/another file/50%.json",
                f"{first.as_uri()}/{run}/another%20file/50%25.json",
            ),
        }
        if (way := ways.get(ref["dataset_type_name"])) is not None:
            called, said = way
            for root in roots:
                there = root / called
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / dataset["path"], there)
            dataset["path"] = said


def events(repository: Repository, layout: str) -> list[list[Event]]:
    """Return windows of events with files in every datastore, the same for each copy."""
    roots = [repository.root / name for name in ROOTS.get(layout, ["."])]
    night = Night(roots[0], universe=repository.reader.dimensions)
    other = Night(roots[0], run=f"{RUN}-other", universe=night.universe)

    first = [night.event(visit, detector) for visit in (1, 2) for detector in range(3)]
    for dataset in first[1]["datasets"]:
        dataset["formatter"] = None
    new = DatasetType(
        "new_log", ["instrument", "visit", "detector"], "Packages", universe=night.universe
    )
    brings = night.event(3, 0) | {"dataset_types": [new.to_simple().model_dump()]}
    for ref in brings["datasets"][3]["refs"].values():
        ref["dataset_type_name"] = "new_log"
    several = night.event(3, 1)
    for dataset in several["datasets"]:  # a file for two detectors
        for ref in list(dataset["refs"].values()):
            twin = {**ref, "data_id": {**ref["data_id"], "detector": 2}}
            dataset["refs"][str(uuid5(UUID(int=0), str(twin)))] = twin
    several["dimension_records"] += night.event(3, 2)["dimension_records"]
    paths = night.event(3, 3)
    second = [first[0], brings, other.event(1, 4), several, paths, first[5]]

    for root in roots[1:]:
        shutil.copytree(roots[0], root, dirs_exist_ok=True)
    rename(paths, roots)
    return [first, second, [second[3]]]


def write(repository: Repository, path: WriteMethod, windows: list[list[Event]]) -> None:
    """Write windows by one of the service's methods."""
    writer = repository.writer(write_method=path)
    for window in windows:
        outcomes = write_window(writer, decoded(*window)).outcomes.values()
        assert all(isinstance(outcome, Written) for outcome in outcomes), outcomes


def write_plainly(repository: Repository, windows: list[list[Event]]) -> None:
    """Write events with Butler's public interface only, as documented."""
    butler = repository.butler()
    for window in windows:
        for event in window:
            for fields in event.get("dataset_types", []):
                butler.registry.registerDatasetType(
                    DatasetType.from_simple(
                        SerializedDatasetType.model_validate(fields), universe=butler.dimensions
                    )
                )
        records: dict[str, dict[Any, DimensionRecord]] = defaultdict(dict)
        files: dict[str, FileDataset] = {}
        for event in window:
            for fields in event["dimension_records"]:
                record = DimensionRecord.from_simple(
                    SerializedDimensionRecord.model_validate(fields), universe=butler.dimensions
                )
                records[fields["definition"]][record.dataId] = record
            for file in event["datasets"]:
                refs = [
                    _ref(butler, dataset_id, fields) for dataset_id, fields in file["refs"].items()
                ]
                formatter = JsonFormatter if file["formatter"] else None
                files[file["path"]] = FileDataset(file["path"], refs, formatter=formatter)
        for element in butler.dimensions.sorted(records):
            butler.registry.insertDimensionData(
                element, *records[element.name].values(), skip_existing=True
            )
        for run in sorted({ref.run for file in files.values() for ref in file.refs}):
            butler.collections.register(run)
        butler.ingest(
            *files.values(), transfer=None, skip_existing=True, record_validation_info=False
        )


def _ref(butler: Butler, dataset_id: str, fields: Event) -> DatasetRef:
    kind = butler.get_dataset_type(fields["dataset_type_name"])
    data_id = DataCoordinate.standardize(fields["data_id"], dimensions=kind.dimensions)
    return DatasetRef(kind, data_id, fields["run"], id=UUID(dataset_id))


def tables(repository: Repository) -> Tables:
    return tables_of(engine_of(repository.reader))


def test_the_tables_to_compare_are_not_empty(plain: Plain) -> None:
    assert len(plain.tables["dataset"]) == 10 * 11
    assert len(plain.tables["visit"]) == 3


@both_methods
def test_each_method_writes_the_same_tables_as_the_public_interface(
    make: Make, layout: str, plain: Plain, path: WriteMethod
) -> None:
    repository = make(path.value)
    write(repository, path, events(repository, layout))
    check_same(tables(repository), plain.tables)


@both_methods
def test_datasets_that_the_public_interface_has_written_are_not_changed(
    plain: Plain, path: WriteMethod
) -> None:
    write(plain.repository, path, plain.windows)
    check_same(tables(plain.repository), plain.tables)


@pytest.mark.postgresql
@both_methods
def test_the_tables_are_the_same_on_postgresql(
    copy_postgresql: Callable[[Path], Repository], tmp_path: Path, path: WriteMethod
) -> None:
    plain, repository = (copy_postgresql(tmp_path / name) for name in ("plain", "repository"))
    write_plainly(plain, events(plain, "files"))
    write(repository, path, events(repository, "files"))
    check_same(tables(repository), tables(plain))


@pytest.mark.parametrize("layout", ["chained"], indirect=True)
def test_datastores_of_a_chain_have_only_the_datasets_that_they_accept(plain: Plain) -> None:
    every = len(plain.tables["dataset"])
    for name in ("records_0", "records_2"):
        assert 0 < len(plain.tables[name]) < every


def test_a_repository_with_obscore_is_written_with_butler_ingest_and_a_warning(
    layout: str, plain: Plain
) -> None:
    with capture_logs() as logs:
        plain.repository.writer(write_method=WriteMethod.RECORDS)
    if layout == "obscore":
        (line,) = logs
        assert line["log_level"] == "warning"
        assert line["parts"] == ["obscore manager ObsCoreLiveTableManager"]
        assert len(plain.tables["obscore"]) == 2 * 11
    else:
        assert logs == []


class OtherDatastore(FileDatastore):
    """A datastore class that the parity test does not cover."""


def test_a_datastore_of_an_unknown_class_is_not_covered(sqlite_repository: Repository) -> None:
    butler = sqlite_repository.butler()
    assert uncovered_parts(butler) == []
    butler._datastore.__class__ = OtherDatastore
    assert uncovered_parts(butler) == ["datastore OtherDatastore"]
