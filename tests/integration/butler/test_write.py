"""Good events are written to the Butler once, however often they are delivered."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest
import sqlalchemy
from lsst.daf.butler import Butler, CollectionType, DatasetType, DimensionUniverse
from structlog.testing import capture_logs

from app.butler.failures import RetryableError
from app.butler.outcome import WriteReport, Written
from app.butler.policy import WriteMethod
from app.butler.private.registry import engine_of
from app.butler.writer import ButlerWriter
from models.causes import Cause
from models.prompt_output import PromptOutput
from testbed.writing import write_window
from tests.support.events import CHAIN, INSTRUMENT, RUN, Night, dataset_ids
from tests.support.repositories import Repository, decoded, rejection, written

Event: TypeAlias = dict[str, Any]


Kind: TypeAlias = tuple[str, WriteMethod]

ON_POSTGRESQL = [
    pytest.param(("postgresql", path), marks=pytest.mark.postgresql) for path in WriteMethod
]


# On PostgreSQL only the bulk insert: the parity test covers the other method.
@pytest.fixture(
    params=[*(("sqlite", path) for path in WriteMethod), ON_POSTGRESQL[0]], ids="-".join
)
def kind(request: pytest.FixtureRequest) -> Kind:
    """The database, and the method of writing."""
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def repository(request: pytest.FixtureRequest, kind: Kind) -> Repository:
    own: Repository = request.getfixturevalue(f"{kind[0]}_repository")
    return own


@pytest.fixture
def write_method(kind: Kind) -> WriteMethod:
    return kind[1]


@pytest.fixture
def writer(repository: Repository, write_method: WriteMethod) -> ButlerWriter:
    return repository.writer(write_method=write_method)


@pytest.fixture
def night(repository: Repository) -> Night:
    return Night(repository.root)


def only(event: Event, name: str) -> Event:
    """Remove all datasets except those of one type from an event."""
    left = [
        dataset
        for dataset in event["datasets"]
        if any(ref["dataset_type_name"] == name for ref in dataset["refs"].values())
    ]
    return {**event, "datasets": left}


def read(butler: Butler, name: str, run: str = RUN) -> dict[int, Any]:
    """Return every dataset of a type in a run, by detector."""
    refs = butler.query_datasets(name, collections=run, find_first=False)
    return {int(ref.dataId["detector"]): butler.get(ref) for ref in refs}


def test_written_datasets_can_be_read(
    repository: Repository, writer: ButlerWriter, night: Night
) -> None:
    events = [night.event(detector=detector) for detector in range(3)]
    report = write_window(writer, decoded(*events))
    assert report.inserted == len(dataset_ids(*events))
    assert repository.stored() == Counter(dataset_ids(*events))
    assert repository.reader.collections.get_info(RUN).type is CollectionType.RUN
    assert read(repository.reader, "isr_log") == {
        detector: {"instrument": INSTRUMENT, "exposure": 1, "detector": detector}
        for detector in range(3)
    }


def test_an_event_is_written_once_and_announced_on_every_delivery(
    repository: Repository, writer: ButlerWriter, night: Night
) -> None:
    first, second = night.event(detector=0), night.event(detector=1)

    def check(writer: ButlerWriter, *window: Event, inserted: int) -> None:
        report = write_window(writer, decoded(*window))
        for index, event in enumerate(window):
            assert set(written(report, index).dataset_ids) == dataset_ids(event)
            assert written(report, index).runs == {RUN: len(dataset_ids(event))}
        assert report.inserted == inserted

    check(writer, first, first, inserted=10)
    check(writer, first, inserted=0)
    check(writer, second, first, second, inserted=10)
    check(repository.writer(write_method=WriteMethod.RECORDS), first, second, inserted=0)
    check(repository.writer(write_method=WriteMethod.PUBLIC), first, second, inserted=0)
    assert repository.stored() == Counter(dataset_ids(first, second))


def test_a_dataset_that_only_the_registry_has_gets_its_datastore_record(
    repository: Repository, writer: ButlerWriter, night: Night
) -> None:
    event = night.event()
    write_window(writer, decoded(event))
    lost = min(dataset_ids(event))
    for name in ("file_datastore_records", "dataset_location"):
        table = sqlalchemy.table(name, sqlalchemy.column("dataset_id", sqlalchemy.Uuid()))
        lose = table.delete().where(table.c.dataset_id == lost)
        assert repository.sql(lose.returning(table.c.dataset_id)) == [lost]

    report = write_window(writer, decoded(event))
    assert report.inserted == 1
    ref = repository.reader.get_dataset(lost)
    assert ref is not None
    assert repository.reader.stored(ref)
    repository.reader.get(ref)


@pytest.mark.parametrize(
    "change",
    [
        {"run": RUN.rpartition("/")[0]},  # the artifact is below its folder too
        {"dataset_type_name": "isr_metadata"},
        {"data_id": {"instrument": INSTRUMENT, "exposure": 1, "detector": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_different_dataset_with_a_known_id_is_in_conflict(
    repository: Repository, writer: ButlerWriter, night: Night, change: Event
) -> None:
    event, other = night.event(), night.event(detector=1)
    write_window(writer, decoded(event))
    differs = night.event()
    (dataset_id,) = differs["datasets"][0]["refs"]
    differs["datasets"][0]["refs"][dataset_id].update(change)
    report = write_window(writer, decoded(differs, other))
    assert dataset_id in rejection(report, 0).reason
    assert repository.stored() == Counter(dataset_ids(event, other))


def test_dimension_records_that_someone_deleted_are_inserted_again(
    repository: Repository, writer: ButlerWriter, night: Night
) -> None:
    events = [only(night.event(detector=detector), "preload_log") for detector in (0, 1)]
    for event in events:
        event["dimension_records"] = [
            r for r in event["dimension_records"] if r["definition"] == "group"
        ]
    write_window(writer, decoded({**events[0], "datasets": []}))
    repository.sql('DELETE FROM "group"')
    write_window(writer, decoded(*events))
    assert repository.stored() == Counter(dataset_ids(*events))


@pytest.mark.postgresql
def test_a_new_table_that_cannot_get_its_lock_in_time_is_created_later(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    writer = repository.writer(lock_timeout=0.5)
    event = Night(repository.root).event()
    universe = repository.reader.dimensions
    kind = DatasetType(
        "skymap_log", ("instrument", "visit"), "StructuredDataDict", universe=universe
    )
    (ref,) = event["datasets"][0]["refs"].values()
    ref["dataset_type_name"] = kind.name
    ref["data_id"] = {"instrument": INSTRUMENT, "visit": 1}
    event["dataset_types"] = [kind.to_simple().model_dump(exclude_none=True)]
    engine = engine_of(repository.reader)
    with engine.begin() as another_writer:
        another_writer.execute(sqlalchemy.text("LOCK TABLE visit IN ROW EXCLUSIVE MODE"))
        with pytest.raises(RetryableError):
            writer.prepare(dict(enumerate(decoded(event))), is_current=lambda: True)
    written(write_window(writer, decoded(event)))
    assert repository.stored() == Counter(dataset_ids(event))


@pytest.mark.parametrize("visit", [1, 2])
def test_a_run_that_someone_removed_is_registered_again_for_a_single_event(
    repository: Repository, writer: ButlerWriter, night: Night, visit: int
) -> None:
    write_window(writer, decoded(night.event()))
    repository.reader.removeRuns([RUN])
    event = night.event(visit)
    written(write_window(writer, decoded(event)))
    assert repository.stored() == Counter(dataset_ids(event))


def test_a_dataset_with_another_path_is_in_conflict(
    sqlite_repository: Repository,
) -> None:
    night = Night(sqlite_repository.root)
    writer = sqlite_repository.writer(write_method=WriteMethod.RECORDS)
    event = night.event()
    write_window(writer, decoded(event))
    moved = night.event()
    moved["datasets"][0]["path"] = moved["datasets"][1]["path"]
    reason = rejection(write_window(writer, decoded(moved))).reason
    assert event["datasets"][0]["path"] in reason
    assert moved["datasets"][0]["path"] in reason


def test_a_dataset_is_not_replaced_by_another_with_its_data_id(
    repository: Repository, writer: ButlerWriter, night: Night
) -> None:
    event, other = night.event(), night.event(detector=1)
    rival = night.event()
    for dataset in rival["datasets"]:
        dataset["refs"] = {str(uuid4()): ref for ref in dataset["refs"].values()}
    for window in ([event, rival, other], [rival, event, other]):  # in one window, and redelivered
        report = write_window(writer, decoded(*window))
        rejected = rejection(report, window.index(rival))
        assert rejected.cause is Cause.CONFLICT
        written(report, window.index(event))
        written(report, 2)
        assert repository.stored() == Counter(dataset_ids(event, other))


def test_a_new_dataset_type_is_registered_and_can_be_used(
    repository: Repository, writer: ButlerWriter, night: Night
) -> None:
    new = DatasetType(
        "new_log", ["instrument", "exposure", "detector"], "Packages", universe=night.universe
    )
    brings = night.event(detector=0) | {"dataset_types": [new.to_simple().model_dump()]}
    uses = night.event(detector=1)
    for event in (brings, uses):
        (ref,) = event["datasets"][0]["refs"].values()
        ref["dataset_type_name"] = "new_log"
    report = write_window(writer, decoded(uses, brings))
    written(report, 0)
    written(report, 1)
    assert repository.butler().get_dataset_type("new_log") == new
    found = repository.reader.query_datasets("new_log", collections=RUN, find_first=False)
    assert {ref.id for ref in found} <= dataset_ids(uses, brings)
    assert len(found) == 2
    written(write_window(writer, decoded(brings)))


def test_the_order_of_events_does_not_matter(
    repository: Repository, writer: ButlerWriter, night: Night
) -> None:
    expected: set[UUID] = set()
    for visit, order in enumerate([(0, 1, 2), (1, 2, 0), (2, 1, 0)], start=1):
        brings = night.event(visit, detector=0)
        needs = night.event(visit, detector=1)
        own = ("visit_detector_region",)
        needs["dimension_records"] = [
            r for r in needs["dimension_records"] if r["definition"] in own
        ]
        bad = night.event(visit, detector=2)
        for ref in bad["datasets"][0]["refs"].values():
            ref["data_id"]["detector"] = 999
        window = [brings, needs, bad]
        report = write_window(writer, decoded(*(window[n] for n in order)))
        written(report, order.index(0))
        written(report, order.index(1))
        rejection(report, order.index(2))
        expected |= dataset_ids(brings, needs)
        assert repository.stored() == Counter(expected)


def test_an_event_may_name_no_formatter(
    repository: Repository, writer: ButlerWriter, night: Night
) -> None:
    event = night.event()
    for dataset in event["datasets"]:
        dataset["formatter"] = None
    written(write_window(writer, decoded(event)))
    names = repository.sql("SELECT formatter FROM file_datastore_records")
    assert set(names) == {"lsst.daf.butler.formatters.yaml.YamlFormatter"}
    assert len(read(repository.reader, "isr_log")) == 1  # JSON is YAML


def test_a_file_may_contain_several_datasets(
    repository: Repository, writer: ButlerWriter, night: Night
) -> None:
    events = [only(night.event(detector=detector), "isr_log") for detector in range(4)]
    (file,) = events[0]["datasets"]
    shared = {k: v for event in events for d in event["datasets"] for k, v in d["refs"].items()}
    event = {
        **events[0],
        "dimension_records": [r for e in events for r in e["dimension_records"]],
        "datasets": [{**file, "refs": shared}],
    }
    for inserted in (4, 0):
        report = write_window(writer, decoded(event))
        assert set(written(report).dataset_ids) == set(map(UUID, shared))
        assert report.inserted == inserted
    assert repository.sql("SELECT path FROM file_datastore_records") == [file["path"]] * 4
    contents = read(repository.reader, "isr_log")
    assert contents.keys() == {0, 1, 2, 3}
    assert all(content == contents[0] for content in contents.values())


def test_an_event_may_contain_only_dimension_records(
    repository: Repository, writer: ButlerWriter, night: Night
) -> None:
    report = write_window(writer, decoded({**night.event(), "datasets": []}))
    assert written(report).dataset_ids == ()
    assert [r.name for r in repository.reader.query_dimension_records("visit")] == ["V1"]


def test_a_window_may_be_empty(writer: ButlerWriter) -> None:
    assert write_window(writer, []).outcomes == {}


def changed(event: Event, **fields: Any) -> Event:
    """Return an event with another visit record."""
    return {
        **event,
        "dimension_records": [
            {**r, "record": {**r["record"], **fields}} if r["definition"] == "visit" else r
            for r in event["dimension_records"]
        ],
    }


def test_a_dimension_record_that_differs_from_the_stored_one_is_counted_and_changes_nothing(
    repository: Repository, writer: ButlerWriter, night: Night
) -> None:
    first = night.event(detector=0)
    differs = changed(night.event(detector=1), exposure_time=15.0, name="V1b")
    assert write_window(writer, decoded(first)).mismatched_records == 0
    for _ in range(2):
        with capture_logs() as logs:
            report = write_window(writer, decoded(differs))
        written(report)
        assert report.mismatched_records == 1
        (line,) = [entry for entry in logs if "dimension record differs" in entry["event"]]
        assert line["element"] == "visit"
        assert line["data_id"] == [INSTRUMENT, 1]
        assert line["fields"] == ["exposure_time", "name"]
    (record,) = repository.reader.query_dimension_records("visit")
    assert (record.exposure_time, record.name) == (30.0, "V1")
    assert repository.stored() == Counter(dataset_ids(first, differs))


def test_dimension_records_that_differ_within_a_window_are_counted(
    repository: Repository, writer: ButlerWriter, night: Night
) -> None:
    first = night.event(detector=0)
    differs = changed(night.event(detector=1), exposure_time=15.0)
    report = write_window(writer, decoded(first, differs, first))
    assert report.mismatched_records == 1
    (record,) = repository.reader.query_dimension_records("visit")
    assert record.exposure_time == 30.0
    assert repository.stored() == Counter(dataset_ids(first, differs))


def test_chains_come_from_the_event_or_else_from_the_name_of_the_run(
    sqlite_repository: Repository,
) -> None:
    repository = sqlite_repository
    pattern = re.compile(r"^(?P<chain>.+/prompt/output-\d{4}-\d{2}-\d{2})/.+$")
    writer = repository.writer(chain_pattern=pattern)
    night, elsewhere = Night(repository.root), Night(repository.root, run="u/someone/run")
    report = write_window(
        writer,
        decoded(
            night.event(detector=0),
            night.event(detector=1, chains=["a", "b"]),
            night.event(detector=2, chains=[]),
            elsewhere.event(detector=3),
        ),
    )
    assert [written(report, n).chains for n in range(4)] == [
        ((CHAIN, RUN),),
        (("a", RUN), ("b", RUN)),
        (),
        (),
    ]
    without = repository.writer(chain_pattern=None)
    report = write_window(without, decoded(night.event(detector=0)))
    assert written(report).chains == ()


@pytest.mark.parametrize("kind", ON_POSTGRESQL, ids="-".join)
def test_concurrent_writers_of_the_same_events_write_each_dataset_once(
    repository: Repository, write_method: WriteMethod, night: Night
) -> None:
    windows = [
        decoded(*(night.event(visit, detector) for detector in range(4))) for visit in range(1, 9)
    ]
    writers = [repository.writer(write_method=write_method) for _ in range(2)]
    orders = [windows, windows[::-1]]

    def write(writer: ButlerWriter, order: list[list[PromptOutput]]) -> list[WriteReport[int]]:
        return [write_window(writer, window) for window in order]

    with ThreadPoolExecutor(2) as pool:
        reports = [report for some in pool.map(write, writers, orders) for report in some]
    assert all(
        isinstance(outcome, Written) for report in reports for outcome in report.outcomes.values()
    )
    expected = {
        UUID(i) for w in windows for output in w for d in output.datasets for i in d["refs"]
    }
    assert repository.stored() == Counter(expected)
    assert repository.sql("SELECT count(*) FROM file_datastore_records") == [len(expected)]


@pytest.mark.postgresql
def test_concurrent_writers_can_register_the_same_new_dataset_types(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    night = Night(repository.root)
    new = [
        DatasetType(f"new{number}", dimensions, "Packages", universe=night.universe)
        for number, dimensions in enumerate((["visit"], ["exposure"], ["group"], ["instrument"]))
    ]  # each needs a new table
    types = [kind.to_simple().model_dump() for kind in new]
    events = [night.event(detector=detector, dataset_types=types) for detector in range(3)]
    writers = [repository.writer() for _ in events]
    together = Barrier(len(events))

    def write(writer: ButlerWriter, event: Event) -> WriteReport[int]:
        together.wait(timeout=30)
        return write_window(writer, decoded(event))

    with ThreadPoolExecutor(len(events)) as pool:
        for report in pool.map(write, writers, events):
            written(report)
    assert repository.stored() == Counter(dataset_ids(*events))
    assert [repository.butler().get_dataset_type(kind.name) for kind in new] == new


_WITHOUT_THE_STORAGE_CLASS = """
import sys
from pathlib import Path
from tests.support.events import Night, dataset_ids
from testbed.writing import write_window
from tests.support.repositories import Repository, decoded, written

repository = Repository(Path(sys.argv[1]))
event = Night(repository.root).event()
for dataset in event["datasets"]:
    for ref in dataset["refs"].values():
        ref["dataset_type_name"] = ref["dataset_type_name"].replace("isr_log", "odd_log")
report = write_window(repository.writer(), decoded(event))
assert set(written(report).dataset_ids) == dataset_ids(event)
"""


def test_a_dataset_with_an_unknown_storage_class_is_written(sqlite_repository: Repository) -> None:
    repository = sqlite_repository
    config = repository.root / "butler.yaml"
    without = config.read_text()
    config.write_text(f"{without}\nstorageClasses:\n  Odd:\n    pytype: dict\n")
    kind = DatasetType(
        "odd_log", ["instrument", "exposure", "detector"], "Odd", universe=DimensionUniverse()
    )
    repository.butler().registry.registerDatasetType(kind)
    config.write_text(without)
    # Storage classes are global to a process.
    command = [sys.executable, "-c", _WITHOUT_THE_STORAGE_CLASS, str(repository.root)]
    subprocess.run(command, check=True)
    assert len(read(repository.reader, "odd_log")) == 1
