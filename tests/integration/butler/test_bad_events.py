"""Events that cannot be written, among events that can: only the bad ones are rejected."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
import sqlalchemy
from lsst.daf.butler import CollectionType, DatasetType, DimensionUniverse

from app.butler.outcome import Rejection
from app.butler.policy import WriteMethod
from app.butler.writer import ButlerWriter
from testbed.postgresql import PostgreSQL
from testbed.writing import write_window
from tests.support.events import RUN, Night, dataset_ids, dataset_type, make_repository
from tests.support.repositories import Repository, decoded, rejection, written

Event: TypeAlias = dict[str, Any]
Spoil: TypeAlias = Callable[[Event], object]

UNIVERSE = DimensionUniverse()


def first_ref(event: Event) -> Event:
    """Return the first dataset ref of an event."""
    ref: Event = next(iter(event["datasets"][0]["refs"].values()))
    return ref


def record(event: Event, element: str) -> Event:
    """Return the fields of an event's record of a dimension element."""
    fields: Event = next(
        r["record"] for r in event["dimension_records"] if r["definition"] == element
    )
    return fields


def without(event: Event, *elements: str) -> None:
    """Remove dimension records from an event."""
    event["dimension_records"] = [
        r for r in event["dimension_records"] if r["definition"] not in elements
    ]


def serialized(kind: DatasetType) -> Event:
    """Return a dataset type as events carry it."""
    return kind.to_simple().model_dump(exclude_none=True)


def of_another_run(event: Event) -> None:
    """Add a second ref, of another run, to an event's first file."""
    event["datasets"][0]["refs"][str(uuid4())] = {**first_ref(event), "run": f"{RUN}-other"}


def same_data_id(event: Event) -> None:
    """Add a dataset with the data ID of another one, and a new id."""
    event["datasets"].append({**event["datasets"][0], "refs": {str(uuid4()): first_ref(event)}})


def same_dataset_id_for_two(event: Event) -> None:
    """Add a second data ID to an event's first file, with the same dataset id."""
    first = event["datasets"][0]
    (dataset_id,) = first["refs"]
    data_id = {**first_ref(event)["data_id"], "detector": 0}
    ref = {**first_ref(event), "data_id": data_id}
    event["datasets"].append({**first, "refs": {dataset_id: ref}})


def same_dataset_id(event: Event) -> None:
    """Give an event's first dataset the id of its second one."""
    (second,) = event["datasets"][1]["refs"]
    event["datasets"][0]["refs"] = {second: first_ref(event)}


def ref_without(name: str) -> Spoil:
    return lambda e: first_ref(e).pop(name)


def ref_with(**fields: Any) -> Spoil:
    return lambda e: first_ref(e).update(fields)


def data_id_with(**values: Any) -> Spoil:
    return lambda e: first_ref(e)["data_id"].update(values)


def file_with(**fields: Any) -> Spoil:
    return lambda e: e["datasets"][0].update(fields)


def record_with(element: str, **fields: Any) -> Spoil:
    return lambda e: record(e, element).update(fields)


def event_with(**fields: Any) -> Spoil:
    return lambda e: e.update(fields)


def defining(given: dict[str, Any]) -> Spoil:
    """Define a dataset type, and use it."""

    def spoil(event: Event) -> None:
        event["dataset_types"] = [given]
        ref_with(dataset_type_name=given["name"])(event)

    return spoil


#: Mistakes that are noticed when an event is prepared, and what the reason must contain.
MISTAKES: dict[str, tuple[Spoil, str]] = {
    "unknown dataset type": (ref_with(dataset_type_name="never_registered"), "never_registered"),
    "dataset type of an unknown dimension": (
        defining({"name": "odd", "storageClass": "Packages", "dimensions": ["colour"]}),
        "not a valid dataset type.*colour",
    ),
    "dataset type of an unknown storage class": (
        defining({"name": "odd", "storageClass": "Imaginary", "dimensions": ["instrument"]}),
        "Imaginary",
    ),
    "dataset types that are no list": (event_with(dataset_types=7), "dataset_types"),
    "a dataset type that is no object": (event_with(dataset_types=["isr_log"]), "dataset type"),
    "component dataset type": (ref_with(dataset_type_name="table.columns"), "is a component"),
    "component dataset type to register": (
        defining(
            serialized(
                DatasetType(
                    "table", ["instrument"], "ArrowAstropy", universe=UNIVERSE
                ).makeComponentDatasetType("columns")
            )
        ),
        "is a component",
    ),
    "path out of the root": (file_with(path="../elsewhere.json"), "outside the datastore root"),
    "quoted path out of the root": (file_with(path="%2e%2e/x.json"), "outside the datastore root"),
    "absolute path elsewhere": (file_with(path="/etc/passwd"), "/etc/passwd.*outside"),
    "path of another scheme": (file_with(path="s3://bucket/a.json"), "s3://bucket/a.json.*outside"),
    "path of no scheme that is known": (file_with(path="gopher://a/b"), "gopher"),
    "path that is no string": (file_with(path=5), "path 5"),
    "path that is empty": (file_with(path=""), "path ''"),
    "path of null": (file_with(path=None), "path None"),
    "missing file": (
        file_with(path=f"{RUN}/never/written.json"),
        "written.json does not exist",
    ),
    "formatter that is not allowed": (file_with(formatter="os.system"), "'os.system'"),
    "formatter with a line's end": (file_with(formatter="lsst.a.B\n"), "'lsst.a.B\\\\n'"),
    "formatter that is no string": (file_with(formatter=5), "formatter"),
    "data ID with a word for a number": (data_id_with(detector="four"), "'four'.*must be"),
    "data ID with a fraction": (data_id_with(detector=4.5), r"4\.5.*must be"),
    "data ID with null": (data_id_with(detector=None), "None.*must be"),
    "data ID with a list": (data_id_with(detector=[4]), "must be"),
    "data ID that lacks a dimension": (
        lambda e: first_ref(e)["data_id"].pop("detector"),
        "lacks 'detector'",
    ),
    "data ID that is no object": (ref_with(data_id=[1]), "data_id"),
    "dataset id that is no UUID": (
        lambda e: e["datasets"][0].update(refs={"not-a-uuid": first_ref(e)}),
        "not-a-uuid",
    ),
    "ref without data ID": (ref_without("data_id"), "data_id"),
    "ref without run": (ref_without("run"), "run"),
    "ref without dataset type": (ref_without("dataset_type_name"), "dataset_type_name"),
    "ref that is no object": (file_with(refs={str(uuid4()): 5}), "refs"),
    "dataset type name that is no string": (ref_with(dataset_type_name=[1]), "dataset_type_name"),
    "dataset type name that is a number": (ref_with(dataset_type_name=1), "dataset_type_name"),
    "run that is empty": (ref_with(run=""), "run ''"),
    "run that is no string": (ref_with(run=7), "run 7"),
    "file of two runs": (of_another_run, "several runs"),
    "file without path": (lambda e: e["datasets"][0].pop("path"), "path"),
    "file without refs": (lambda e: e["datasets"][0].pop("refs"), "refs"),
    "file with no ref": (file_with(refs={}), "contains no dataset"),
    "refs that are a list": (file_with(refs=[1]), "refs"),
    "datasets that are no objects": (event_with(datasets=[5]), "datasets.0"),
    "records that are no objects": (event_with(dimension_records=["visit"]), "dimension_records.0"),
    "unknown dimension element": (
        lambda e: e["dimension_records"].append({"definition": "colour", "record": {}}),
        "'colour'",
    ),
    "element that is no string": (
        lambda e: e["dimension_records"].append({"definition": [], "record": {}}),
        "definition",
    ),
    "record without fields": (
        lambda e: e["dimension_records"].append({"definition": "visit"}),
        "record",
    ),
    "record without its key": (lambda e: record(e, "visit").pop("id"), "id"),
    "record without a field": (lambda e: record(e, "visit").pop("name"), "visit"),
    "record with an unknown field": (record_with("visit", colour="blue"), "visit.*colour"),
    "record with a wrong key": (record_with("visit", id="1"), "visit record .*'1'.*must be"),
    "record with a wrong type": (record_with("visit", exposure_time="long"), "visit.*exposure"),
    "record with a wrong region": (record_with("visit", region="square"), "visit"),
    "record with a wrong time": (record_with("visit", timespan=[1]), "visit"),
    "run in itself as a chain": (
        lambda e: e.update(chains=[first_ref(e)["run"]]),
        "cannot be in the chain",
    ),
    "chain that is empty": (event_with(chains=[""]), "cannot be in the chain"),
    "chain that is no string": (event_with(chains=[5]), "cannot be in the chain 5"),
    "chains that are a string": (event_with(chains="a/chain"), "chains"),
    "staged artifacts": (event_with(staging="s3://staging/"), "BUTLER_WRITER_STAGING_ROOTS"),
}

#: Mistakes that are noticed when an event is committed, and what the reason must contain.
CONFLICTS: dict[str, tuple[Spoil, str]] = {
    "dataset type with another storage class": (
        event_with(
            dataset_types=[
                serialized(
                    DatasetType("isr_log", dataset_type("isr_log", UNIVERSE).dimensions, "int")
                )
            ]
        ),
        "isr_log.*int",
    ),
    "dataset type with other dimensions": (
        event_with(
            dataset_types=[
                serialized(
                    DatasetType("isr_log", ["instrument"], "StructuredDataDict", universe=UNIVERSE)
                )
            ]
        ),
        "isr_log.*instrument",
    ),
    "missing visit record": (
        lambda e: without(e, "visit"),
        "there is no visit with|not present in table .visit|FOREIGN KEY",
    ),
    "missing group record": (
        lambda e: without(e, "group"),
        "there is no group with|not present in table .group|FOREIGN KEY",
    ),
    "unknown instrument": (data_id_with(instrument="NoCam"), "NoCam|FOREIGN KEY|Implied value"),
    "unknown detector": (
        data_id_with(detector=999),
        "there is no detector with .*999|999.*not present|FOREIGN KEY",
    ),
    "data ID beyond 64 bits": (data_id_with(detector=2**63), "too large|out of range"),
    "dataset with the data ID of another": (same_data_id, "data ID|dataset"),
    "dataset with the id of another": (same_dataset_id, "dataset .* is "),
    "dataset with two data IDs": (same_dataset_id_for_two, "dataset .* is .*but given as"),
    "run that is a chain": (ref_with(run="a/chain"), "a/chain"),
}


def prepare(repository: Repository) -> Repository:
    """Register a chain, and a dataset type that has components."""
    butler = repository.reader
    butler.collections.register("a/chain", CollectionType.CHAINED)
    butler.registry.registerDatasetType(
        DatasetType("table", ["instrument"], "ArrowAstropy", universe=butler.dimensions)
    )
    return repository


#: The artifacts of an event stay where they are if its run is changed.
ANY_PATH: dict[str, Any] = {"paths_below_run": False}


@dataclass
class Shared:
    """A repository and a writer for many tests, each of which uses another run and other visits."""

    repository: Repository
    writer: ButlerWriter
    visits: Iterator[int] = field(default_factory=lambda: count(1))


@pytest.fixture(scope="module")
def on_sqlite(
    prepared_sqlite: Repository, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    root = tmp_path_factory.mktemp("shared") / "repository"
    repository = prepare(prepared_sqlite.copy(root))
    yield Shared(repository, repository.writer(**ANY_PATH))
    repository.close()


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def on_each(
    request: pytest.FixtureRequest,
    write_method: WriteMethod,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shared]:
    root = tmp_path_factory.mktemp("shared") / "repository"
    if request.param == "sqlite":
        repository = request.getfixturevalue("prepared_sqlite").copy(root)
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        make_repository(root, database=server.create_database(f"bad_{root.parent.name}")).close()
        repository = Repository(root)
    prepare(repository)
    yield Shared(repository, repository.writer(write_method=write_method, **ANY_PATH))
    repository.close()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_invalid_event_is_rejected_for_its_cause_and_all_others_are_written(
    on_sqlite: Shared, mistake: str
) -> None:
    check_bad_event(on_sqlite, mistake, *MISTAKES[mistake])


@pytest.mark.parametrize("write_method", list(WriteMethod), scope="module")
@pytest.mark.parametrize("conflict", CONFLICTS)
def test_a_conflicting_event_is_rejected_for_its_cause_and_all_others_are_written(
    on_each: Shared, conflict: str
) -> None:
    check_bad_event(on_each, conflict, *CONFLICTS[conflict])


def check_bad_event(shared: Shared, name: str, spoil: Spoil, reason: str) -> None:
    """Check the outcomes of a bad event among good ones, and of two bad events alone."""
    repository, writer = shared.repository, shared.writer
    run = f"{RUN}/{name.replace(' ', '-')}"
    night = Night(repository.root, run)
    visit = next(shared.visits)
    good = [night.event(visit, detector) for detector in range(2)]
    bad, another = (night.event(next(shared.visits), detector=4) for _ in range(2))
    for event in (bad, another):
        spoil(event)

    report = write_window(writer, decoded(good[0], bad, good[1]))
    assert re.search(reason, rejection(report, 1).reason), rejection(report, 1)
    for index, event in zip((0, 2), good, strict=True):
        assert set(written(report, index).dataset_ids) == dataset_ids(event)
    assert report.inserted == len(dataset_ids(*good))

    report = write_window(writer, decoded(bad, another))
    assert [type(outcome) for outcome in report.outcomes.values()] == [Rejection, Rejection]
    assert report.inserted == 0

    assert repository.stored(run) == Counter(dataset_ids(*good))
    files = sqlalchemy.table("file_datastore_records", sqlalchemy.column("path"))
    of_run = sqlalchemy.select(sqlalchemy.func.count()).where(files.c.path.startswith(f"{run}/"))
    assert repository.sql(of_run) == [len(dataset_ids(*good))]
