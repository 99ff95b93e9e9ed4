"""The file check: which artifacts it checks, and stores that fail."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Config
from structlog.testing import capture_logs

from app.butler.failures import RetryableError
from app.butler.policy import FileCheck
from app.butler.private.datastores import FileStore
from models.causes import Cause
from testbed.waiting import wait_until
from testbed.writing import write_window
from tests.support.events import RUN, Night, dataset_ids
from tests.support.faulty_store import Store
from tests.support.faulty_writes import impossible_type
from tests.support.repositories import Repository, decoded, rejection, written


def lose(repository: Repository, event: dict[str, Any], *positions: int) -> None:
    """Remove some of an event's artifacts."""
    for position in positions:
        (repository.root / event["datasets"][position]["path"]).unlink()


def test_every_artifact_is_checked(sqlite_repository: Repository) -> None:
    repository = sqlite_repository
    events = [Night(repository.root).event(detector=detector) for detector in range(3)]
    lose(repository, events[1], 4, 9)
    report = write_window(repository.writer(), decoded(*events))
    reason = rejection(report, 1).reason
    assert events[1]["datasets"][4]["path"].rsplit("/", 1)[1] in reason
    assert "does not exist (and 1 more)" in reason
    assert repository.stored() == Counter(dataset_ids(events[0], events[2]))


def test_a_sample_is_the_first_artifact_of_each_event(sqlite_repository: Repository) -> None:
    repository = sqlite_repository
    events = [Night(repository.root).event(detector=detector) for detector in range(2)]
    lose(repository, events[0], 0)
    lose(repository, events[1], 1)
    report = write_window(repository.writer(file_check=FileCheck.SAMPLE), decoded(*events))
    rejection(report, 0)
    written(report, 1)


def test_the_file_check_can_be_switched_off(sqlite_repository: Repository) -> None:
    event = Night().event()
    written(write_window(sqlite_repository.writer(file_check=FileCheck.NONE), decoded(event)))
    assert sqlite_repository.stored() == Counter(dataset_ids(event))


def test_the_file_check_waits_for_a_late_artifact(sqlite_repository: Repository) -> None:
    repository = sqlite_repository
    event = Night(repository.root).event()
    late = repository.root / event["datasets"][3]["path"]
    content = late.read_bytes()
    late.unlink()
    writer = repository.writer(missing_file_tries=2)
    asked = comes_when_asked = 0

    def is_current() -> bool:
        nonlocal asked
        asked += 1
        if asked == comes_when_asked:
            late.write_bytes(content)
        return True

    rejection(write_window(writer, decoded(event), is_current=is_current))
    comes_when_asked, asked = asked, 0  # the last call is between the two checks
    written(write_window(writer, decoded(event), is_current=is_current))


def test_the_artifacts_of_a_redelivered_event_are_checked_too(
    sqlite_repository: Repository,
) -> None:
    repository = sqlite_repository
    event = Night(repository.root).event()
    writer = repository.writer()
    written(write_window(writer, decoded(event)))
    lose(repository, event, 0)
    rejection(write_window(writer, decoded(event)))
    assert repository.stored() == Counter(dataset_ids(event))


def test_a_store_that_denies_access_is_not_taken_for_empty(on_s3: Repository, store: Store) -> None:
    events = [Night().event(detector=detector) for detector in range(2)]
    writer = on_s3.writer()
    store.answer = 403
    with pytest.raises(RetryableError, match=r"denies access .*s3://bucket/.*s3:ListBucket"):
        write_window(writer, decoded(*events))
    with pytest.raises(RetryableError, match=r"denies access .*s3://bucket/.*s3:ListBucket"):
        write_window(writer, decoded(events[0]))
    store.answer = 200
    written(write_window(writer, decoded(*events)), 1)
    assert on_s3.stored() == Counter(dataset_ids(*events))


def never_written(event: dict[str, Any], position: int = 5) -> str:
    """Give an artifact of an event a path that does not exist; return its URI."""
    event["datasets"][position]["path"] = path = f"{RUN}/never_written_{position}.json"
    return f"s3://bucket/butler/{path}"


@pytest.mark.parametrize("others", [0, 2])
def test_without_the_right_to_list_a_missing_file_rejects_only_its_event(
    on_s3: Repository, store: Store, others: int
) -> None:
    """S3 then denies access to a file that does not exist."""
    store.special = {"never": 403}
    bad, *good = (Night().event(detector=detector) for detector in range(1 + others))
    missing = never_written(bad)
    with capture_logs() as lines:
        report = write_window(on_s3.writer(), decoded(bad, *good))
    assert rejection(report).cause is Cause.MISSING_FILE
    assert rejection(report).reason.startswith(f"{missing} is missing, or not readable")
    assert "s3:ListBucket" in rejection(report).reason
    (alarm,) = (line for line in lines if line.get("right") == "s3:ListBucket")
    assert (alarm["log_level"], alarm["file"]) == ("error", missing)
    assert on_s3.stored() == Counter(dataset_ids(*good))


def test_an_event_without_any_file_is_judged_by_the_file_that_was_seen_last(
    on_s3: Repository, store: Store
) -> None:
    store.special = {"never": 403}
    first, bad, last = (Night().event(detector=detector) for detector in range(3))
    for position in range(len(bad["datasets"])):
        never_written(bad, position)
    writer = on_s3.writer()
    with pytest.raises(RetryableError, match=r"denies access .*/never_written_0.json; check"):
        write_window(writer, decoded(bad))  # no other file is known yet
    written(write_window(writer, decoded(first)))
    assert "(and 9 more)" in rejection(write_window(writer, decoded(bad))).reason
    assert on_s3.stored() == Counter(dataset_ids(first))

    store.answer = 403  # the credentials were revoked
    for window in ([bad], [last], [bad, last]):
        with pytest.raises(RetryableError, match=f"{RUN}.*, which it had before") as raised:
            write_window(writer, decoded(*window))
        assert raised.value.alarm
        assert "s3:GetObject" in str(raised.value)
    store.answer = 200
    report = write_window(writer, decoded(bad, last))
    rejection(report, 0)
    written(report, 1)


def test_no_event_is_rejected_if_access_is_denied_while_its_files_are_looked_for(
    on_s3: Repository, store: Store
) -> None:
    events = [Night().event(detector=detector) for detector in range(2)]
    writer = on_s3.writer(missing_file_tries=3)
    store.denied_after = 13  # some of the files are found before
    with pytest.raises(RetryableError, match="denies access"):
        write_window(writer, decoded(*events))
    store.denied_after = None
    written(write_window(writer, decoded(*events)), 1)


def test_the_file_check_has_a_timeout(on_s3: Repository, store: Store) -> None:
    event = Night().event()
    writer = on_s3.writer(file_check_timeout=0.3)
    store.goes_on.clear()
    started = time.monotonic()
    with pytest.raises(RetryableError, match="10 artifacts"):
        write_window(writer, decoded(event))
    assert 0.3 <= time.monotonic() - started < 20
    store.goes_on.set()
    written(write_window(on_s3.writer(), decoded(event)))


def test_a_store_that_hangs_takes_a_limited_number_of_threads(
    on_s3: Repository, store: Store
) -> None:
    """With all of them taken, the next check waits for one of them instead of starting more."""
    event = Night().event()
    writer = on_s3.writer(file_check_timeout=0.05)
    failures = 0

    def write() -> None:
        nonlocal failures
        while True:
            try:
                written(write_window(writer, decoded(event)))
            except RetryableError:
                failures += 1
            else:
                return

    store.goes_on.clear()
    attempts = threading.Thread(target=write, daemon=True)
    attempts.start()

    def taken() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name.startswith("artifacts")]

    def is_waiting() -> bool:
        before = failures
        time.sleep(1)  # enough for ten more
        return failures == before

    # An attempt whose call has not begun in time takes no thread, so there may be more than ten.
    wait_until(lambda: failures >= 10 and is_waiting(), 60, "an attempt that waits")
    assert len(taken()) == 10
    assert all(thread.daemon for thread in taken()), "they must not keep the process from ending"

    store.goes_on.set()
    attempts.join(60)
    assert not attempts.is_alive()
    assert on_s3.stored() == Counter(dataset_ids(event))


def test_a_key_that_the_store_calls_invalid_rejects_only_its_event(
    on_s3: Repository, store: Store
) -> None:
    events = [Night().event(detector=detector) for detector in range(3)]
    store.special = {"mistake": 400}
    events[1]["datasets"][5]["path"] = f"{RUN}/mistake.json"
    report = write_window(on_s3.writer(), decoded(*events))
    assert "400" in rejection(report, 1).reason
    assert on_s3.stored() == Counter(dataset_ids(events[0], events[2]))


@pytest.mark.parametrize("size", [1, 2])
def test_a_window_is_prepared_again_if_the_store_calls_every_key_invalid(
    on_s3: Repository, store: Store, size: int
) -> None:
    events = [Night().event(detector=detector) for detector in range(size)]
    writer = on_s3.writer()
    store.answer = 400  # S3's response to expired credentials
    with pytest.raises(RetryableError, match="a file store does not answer"):
        # To commit what it returns would fail forever.
        writer.prepare(dict(enumerate(decoded(*events))), is_current=lambda: True)
    store.answer = 200
    written(write_window(writer, decoded(*events)), size - 1)
    assert on_s3.stored() == Counter(dataset_ids(*events))


def test_an_object_that_does_not_exist_is_a_missing_artifact(
    on_s3: Repository, store: Store
) -> None:
    events = [Night().event(detector=detector) for detector in range(2)]
    store.special = {"never": 404}
    events[0]["datasets"][5]["path"] = path = f"{RUN}/never_written.json"
    report = write_window(on_s3.writer(), decoded(*events))
    assert rejection(report, 0).reason == f"s3://bucket/butler/{path} does not exist"
    assert on_s3.stored() == Counter(dataset_ids(events[1]))


@pytest.mark.parametrize("left", [(), ("butler.yaml",)])
def test_a_store_without_any_file_has_lost_them_and_no_event_is_at_fault(
    sqlite_repository: Repository, left: tuple[str, ...]
) -> None:
    """As an empty mount point, or another bucket, behind a root that exists, or below it."""
    repository = sqlite_repository
    writer = repository.writer()
    night = Night(repository.root)
    written(write_window(writer, decoded(night.event(detector=0))))
    event = night.event(detector=1)
    hidden = repository.root.with_name("hidden")
    for entry in list(repository.root.iterdir()):
        if not entry.name.startswith(("gen3.sqlite3", *left)):
            hidden.mkdir(exist_ok=True)
            entry.rename(hidden / entry.name)
    for _ in range(3):
        with pytest.raises(RetryableError, match="which it had before, is missing too") as raised:
            write_window(writer, decoded(event))
        assert raised.value.alarm
    for entry in hidden.iterdir():
        entry.rename(repository.root / entry.name)
    written(write_window(writer, decoded(event)))


def test_the_first_event_of_a_worker_is_not_blamed_for_an_empty_store(
    sqlite_repository: Repository,
) -> None:
    repository = sqlite_repository
    writer = repository.writer()
    event = Night(repository.root).event()
    (repository.root / "butler.yaml").rename(repository.root.with_name("butler.yaml"))
    lose(repository, event, *range(len(event["datasets"])))
    with pytest.raises(RetryableError, match=r"butler\.yaml"):
        write_window(writer, decoded(event))


@pytest.fixture
def apart(repository: Repository, tmp_path: Path) -> Repository:
    """A repository whose configuration is not in its datastore."""
    file = repository.root / "butler.yaml"
    config = Config(str(file))
    config["datastore", "root"] = str(tmp_path / "store")
    config.dumpToUri(str(file))
    (tmp_path / "store").mkdir()
    return repository


def test_a_new_worker_knows_an_emptied_store_by_what_others_wrote(
    apart: Repository, tmp_path: Path
) -> None:
    night = Night(tmp_path / "store")
    first, second = night.event(detector=0), night.event(detector=1)
    written(write_window(apart.writer(), decoded(first)))
    (tmp_path / "store").rename(tmp_path / "hidden")
    (tmp_path / "store").mkdir()
    writer = apart.writer()
    for _ in range(2):
        with pytest.raises(RetryableError, match="which it had before, is missing too") as raised:
            write_window(writer, decoded(second))
        assert raised.value.alarm
    (tmp_path / "store").rmdir()
    (tmp_path / "hidden").rename(tmp_path / "store")
    written(write_window(writer, decoded(second)))


@pytest.mark.parametrize("found", [1, 5])
def test_a_store_that_loses_its_files_during_a_look_has_lost_them(
    apart: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: int
) -> None:
    """Some artifacts of the event were found before."""
    event = Night(tmp_path / "store").event()

    def hide() -> None:
        (tmp_path / "store").rename(tmp_path / "hidden")
        (tmp_path / "store").mkdir()

    after_looks(monkeypatch, found, hide)
    writer = apart.writer()
    with pytest.raises(RetryableError, match="which it had before, is missing too"):
        write_window(writer, decoded(event))
    (tmp_path / "store").rmdir()
    (tmp_path / "hidden").rename(tmp_path / "store")
    written(write_window(writer, decoded(event)))


def test_files_that_a_store_has_again_after_the_last_look_are_not_missing(
    apart: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = Night(tmp_path / "store")
    writer = apart.writer(missing_file_tries=1)
    written(write_window(writer, decoded(night.event(1))))
    event = night.event(2)
    (tmp_path / "store").rename(tmp_path / "hidden")
    (tmp_path / "store").mkdir()

    def show() -> None:
        (tmp_path / "store").rmdir()
        (tmp_path / "hidden").rename(tmp_path / "store")

    after_looks(monkeypatch, len(event["datasets"]), show)
    written(write_window(writer, decoded(event)))


def after_looks(monkeypatch: pytest.MonkeyPatch, number: int, change: Callable[[], None]) -> None:
    """Change something after a number of looks for a file."""
    exists, looks = FileStore.exists, count(1)

    def counted(store: FileStore, path: str) -> bool:
        found = exists(store, path)
        if next(looks) == number:
            change()
        return found

    monkeypatch.setattr(FileStore, "exists", counted)


def test_a_new_worker_rejects_an_event_without_files_in_a_store_that_has_others(
    apart: Repository, tmp_path: Path
) -> None:
    night = Night(tmp_path / "store")
    first, second = night.event(detector=0), night.event(detector=1)
    for dataset in second["datasets"]:
        (tmp_path / "store" / dataset["path"]).unlink()
    report = write_window(apart.writer(), decoded(second))  # nothing was ever in the store
    assert rejection(report).cause is Cause.MISSING_FILE
    written(write_window(apart.writer(), decoded(first)))
    last = first["datasets"][-1]["path"]
    (tmp_path / "store" / last).unlink()  # somebody has removed the dataset
    report = write_window(apart.writer(), decoded(second))
    assert rejection(report).cause is Cause.MISSING_FILE


def test_a_new_worker_without_the_right_to_list_judges_by_what_others_wrote(
    on_s3: Repository, store: Store
) -> None:
    """The repository's configuration is not in the store, so S3 denies access to it too."""
    night = Night()
    written(write_window(on_s3.writer(), decoded(night.event(1))))
    store.special = {"butler.yaml": 403, "never": 403}
    report = write_window(on_s3.writer(), decoded(impossible_type(night, 90)))
    assert "dataset_tags" in rejection(report).reason
    bad = night.event(2)
    for position in range(len(bad["datasets"])):
        never_written(bad, position)
    report = write_window(on_s3.writer(), decoded(bad))
    assert rejection(report).cause is Cause.MISSING_FILE

    store.answer = 403  # the credentials were revoked
    for event in (impossible_type(night, 90), bad):
        with pytest.raises(RetryableError, match=r"denies access .*, which it had before; check"):
            write_window(on_s3.writer(), decoded(event))


def test_an_event_that_lacks_all_its_files_in_a_store_that_has_others_is_at_fault(
    sqlite_repository: Repository,
) -> None:
    repository = sqlite_repository
    writer = repository.writer()
    event = Night(repository.root).event()
    lose(repository, event, *range(len(event["datasets"])))
    assert rejection(write_window(writer, decoded(event))).cause is Cause.MISSING_FILE


def test_an_artifact_that_was_removed_later_does_not_make_the_store_look_empty(
    sqlite_repository: Repository,
) -> None:
    repository = sqlite_repository
    writer = repository.writer()
    night = Night(repository.root)
    first, second = night.event(detector=0), night.event(detector=1)
    written(write_window(writer, decoded(first)))
    butler = repository.butler()
    refs = butler.query_all_datasets(RUN, find_first=False)
    butler.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
    lose(repository, second, *range(len(second["datasets"])))
    assert rejection(write_window(writer, decoded(second))).cause is Cause.MISSING_FILE
