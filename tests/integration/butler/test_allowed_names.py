"""What events may name, by default and by setting; other events of the window are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler, CollectionType, DatasetType

from app.butler.repository.chains import MADE_BY, ChainKeeper
from models.causes import Cause
from testbed.writing import write_window
from tests.support.events import CHAIN, RUN, Night, dataset_ids
from tests.support.repositories import Repository, decoded, rejection, written

OTHER_RUN = RUN.replace("ApPipe", "Other")


def first_ref(event: dict[str, Any]) -> dict[str, Any]:
    return next(iter(event["datasets"][0]["refs"].values()))


def at_path(path: str) -> Callable[[dict[str, Any]], None]:
    return lambda event: event["datasets"][0].update(path=path)


def test_a_run_that_the_setting_does_not_match_is_refused(repository: Repository) -> None:
    events = [repository.night(run).event() for run in (RUN, OTHER_RUN)]
    allowed = r"TestCam/prompt/output-\d{4}-\d{2}-\d{2}/ApPipe/[\w-]+"
    report = write_window(repository.writer(allowed_runs=allowed), decoded(*events))
    written(report, 0)
    assert rejection(report, 1).cause is Cause.RUN_NOT_ALLOWED
    assert rejection(report, 1).reason.startswith(
        f"run {OTHER_RUN!r} does not match BUTLER_WRITER_ALLOWED_RUNS; "
    )
    assert repository.stored(OTHER_RUN) == Counter()


def test_a_chain_of_an_operator_is_not_changed_because_an_event_names_it(
    repository: Repository,
) -> None:
    butler = repository.butler()
    for chain in ("TestCam/calib", "TestCam", "own"):
        butler.collections.register(chain, CollectionType.CHAINED)
    night = repository.night()
    events = [
        night.event(detector=0, chains=["TestCam/calib"]),
        night.event(detector=1, chains=[CHAIN, "TestCam"]),
        night.event(detector=2, chains=["TestCam/prompt/output-2026"]),  # not a folder of the run
        night.event(detector=3),
    ]
    report = write_window(repository.writer(), decoded(*events))
    assert rejection(report, 0).cause is Cause.CHAIN_NOT_ALLOWED
    assert "'TestCam/calib' is not of this service" in rejection(report, 0).reason
    assert "BUTLER_WRITER_ALLOWED_CHAINS" in rejection(report, 0).reason
    for n in (1, 2, 3):
        written(report, n)
    assert repository.stored() == Counter(dataset_ids(*events[1:]))
    report = write_window(
        repository.writer(allowed_chains="own"),
        decoded(night.event(detector=4, chains=["own"]), night.event(detector=5, chains=[CHAIN])),
    )
    written(report, 0)
    assert rejection(report, 1).cause is Cause.CHAIN_NOT_ALLOWED
    assert "does not match BUTLER_WRITER_ALLOWED_CHAINS" in rejection(report, 1).reason


def test_an_event_may_name_a_chain_that_this_service_has_made(repository: Repository) -> None:
    night = repository.night()
    for detector in range(2):
        report = write_window(
            repository.writer(), decoded(night.event(detector=detector, chains=["u/someone/new"]))
        )
        pairs = written(report).chains
        assert ChainKeeper(repository.butler()).ensure(pairs) == {}
    info = repository.butler().collections.get_info("u/someone/new")
    assert (info.children, info.doc) == ((RUN,), MADE_BY)


def instrument_record(name: str) -> dict[str, Any]:
    return {
        "definition": "instrument",
        "record": {
            "name": name,
            "visit_max": 1,
            "exposure_max": 1,
            "detector_max": 1,
            "visit_system": 2,
            "class_name": "x",
        },
    }


@pytest.mark.parametrize("method", ["records", "public"])
def test_a_new_record_that_operators_register_is_refused(
    sqlite_repository: Repository, method: str
) -> None:
    repository = sqlite_repository
    events = [repository.night().event(detector=detector) for detector in range(3)]
    events[0]["dimension_records"].append(instrument_record("Forged"))
    events[1]["dimension_records"].append(instrument_record("TestCam"))
    events[1]["dimension_records"].append(
        {"definition": "subfilter", "record": {"band": "r", "id": 7}}
    )
    names = "SELECT name FROM instrument ORDER BY name"
    report = write_window(repository.writer(write_method=method), decoded(*events))
    assert rejection(report, 0).cause is Cause.ELEMENT_NOT_ALLOWED
    assert rejection(report, 0).reason.startswith(
        "the instrument record ('Forged',) is new; register it in the repository, or allow "
    )
    assert "the subfilter record ('r', 7) is new" in rejection(report, 1).reason
    written(report, 2)
    assert repository.sql(names) == ["TestCam"]

    writer = repository.writer(write_method=method, allowed_elements="instrument, subfilter")
    report = write_window(writer, decoded(*events))
    for n in range(3):
        written(report, n)
    assert repository.sql(names) == ["Forged", "TestCam"]
    # By now they are stored.
    write_window(repository.writer(write_method=method), decoded(events[0]))
    written(report)


def with_types(night: Night, detector: int, *names: str) -> dict[str, Any]:
    dimensions = ["instrument", "detector", "visit"]
    given = [
        {"name": name, "storageClass": "StructuredDataDict", "dimensions": dimensions}
        for name in names
    ]
    return night.event(detector=detector, dataset_types=given)


def test_events_add_few_dataset_types_within_an_hour(repository: Repository) -> None:
    night = repository.night()
    known = repository.butler().get_dataset_type("isr_log")
    writer = repository.writer(new_dataset_types=3)
    report = write_window(
        writer,
        decoded(
            with_types(night, 0, "a", "b"),
            with_types(night, 1, "c", "d"),
            with_types(night, 2, "a", "b", "c"),
            with_types(night, 3, "b", "c"),
            with_types(night, 4, "d"),
        ),
    )
    for n in (0, 2, 3):
        written(report, n)
    for n in (1, 4):
        assert rejection(report, n).cause is Cause.DATASET_TYPE_NOT_ALLOWED
        assert (
            "or raise BUTLER_WRITER_NEW_DATASET_TYPES, then replay" in rejection(report, n).reason
        )
    assert {kind.name for kind in types_of(repository)} >= {"a", "b", "c", known.name}
    assert "d" not in {kind.name for kind in types_of(repository)}


def types_of(repository: Repository) -> list[DatasetType]:
    butler: Butler = repository.butler()
    return [*butler.registry.queryDatasetTypes()]


def test_a_dataset_is_never_in_a_file_of_the_repository_itself(
    sqlite_repository: Repository,
) -> None:
    repository = sqlite_repository
    own = ["butler.yaml", "./butler.yaml", str(repository.root / "butler.yaml"), "gen3.sqlite3"]
    night = repository.night()
    events = [night.event(detector=detector) for detector in range(len(own))]
    for event, path in zip(events, own, strict=True):
        at_path(path)(event)
    for is_below_run in (True, False):
        writer = repository.writer(paths_below_run=is_below_run, file_check="none")
        report = write_window(writer, decoded(*events))
        for n in range(len(own)):
            assert rejection(report, n).cause is Cause.PATH_NOT_ALLOWED
            assert rejection(report, n).reason.endswith("is a file of the repository itself")


def test_a_path_outside_of_its_runs_folder_is_refused_unless_a_setting_allows_it(
    sqlite_repository: Repository,
) -> None:
    repository = sqlite_repository
    victim = repository.night(OTHER_RUN).event()
    thief = repository.night().event()
    thief["datasets"][0]["path"] = victim["datasets"][0]["path"]
    report = write_window(repository.writer(), decoded(victim, thief))
    written(report, 0)
    assert rejection(report, 1).cause is Cause.PATH_NOT_ALLOWED
    assert "is not below the folder of its run" in rejection(report, 1).reason
    assert "BUTLER_WRITER_PATHS_BELOW_RUN=false" in rejection(report, 1).reason
    written(write_window(repository.writer(paths_below_run=False), decoded(thief)))


def test_no_event_is_refused_because_another_one_names_its_file(repository: Repository) -> None:
    """Otherwise an event could keep those of other pods from being written."""
    night = repository.night()
    victim, thief = night.event(detector=0), night.event(detector=1)
    thief["datasets"][0]["path"] = victim["datasets"][0]["path"]
    report = write_window(repository.writer(), decoded(thief, victim))
    for n in range(2):
        written(report, n)
    assert repository.stored() == Counter(dataset_ids(thief, victim))


def test_a_file_stays_as_long_as_one_of_the_datasets_in_it(sqlite_repository: Repository) -> None:
    """What a later event names too is not lost if its dataset is removed."""
    night = sqlite_repository.night()
    victim, thief = night.event(detector=0), night.event(detector=1)
    path = thief["datasets"][0]["path"] = victim["datasets"][0]["path"]
    writer = sqlite_repository.writer()
    for event in (victim, thief):
        written(write_window(writer, decoded(event)))
    butler = Butler.from_config(str(sqlite_repository.root), writeable=True)
    (thiefs_id,) = thief["datasets"][0]["refs"]
    stolen = butler.get_dataset(thiefs_id)
    assert stolen is not None
    butler.pruneDatasets([stolen], purge=True, unstore=True, disassociate=True)
    butler.close()
    assert Path(sqlite_repository.root, path).is_file()
