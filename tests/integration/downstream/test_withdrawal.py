"""Datasets are taken out of a downstream repository, with the files that it owns."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from uuid import UUID, uuid4

import pytest
import sqlalchemy
from lsst.daf.butler import Butler, FileDataset
from lsst.resources import ResourcePath

from agents.released_events import ReleasedContent
from app.butler.commit.isolation import Turn
from app.butler.events.limits import EventLimits
from app.butler.failures import RetryableError
from app.butler.insert.batch import Batch
from app.butler.insert.bulk_insert import BulkInsert
from app.butler.policy import ReplicaPolicy, Transfer, WritePolicy
from app.butler.private.registry import engine_of
from app.butler.private.removals import Removals
from app.butler.writer import ButlerWriter
from app.downstream.selection import Release
from app.operations.products.withdrawal import Removed, Withdrawal
from models.product import Products
from testbed.waiting import wait_until
from tests.integration.butler.test_products import write
from tests.integration.butler.test_replica import TAG, replicate, root_of, stored
from tests.integration.downstream.test_rebuilding import ingest
from tests.support.events import RUN, dataset_type
from tests.support.repositories import Repository

ON_SQLITE = pytest.mark.parametrize("repository", ["sqlite"], indirect=True)


@pytest.fixture
def messages(repository: Repository) -> list[Products]:
    """What the service has written into the source."""
    night = repository.night()
    return write(repository.writer(), [night.event(1, detector) for detector in range(2)])


def paths_of(messages: list[Products]) -> dict[UUID, str]:
    return {UUID(i): f["path"] for m in messages for f in m.datasets for i in f["refs"]}


def test_datasets_are_removed_with_their_files_and_nothing_else_is(
    repository: Repository, target: Butler, messages: list[Products]
) -> None:
    replicate(target, repository, messages, tag=TAG)
    paths = paths_of(messages)
    one, two, *others = paths
    withdrawal = Withdrawal(target, [one, two, uuid4()], [])
    assert withdrawal.remove(dry_run=True) == Removed(datasets=2, files=2)
    assert stored(target) == set(paths)
    assert withdrawal.remove() == Removed(datasets=2, files=2)
    assert stored(target) == stored(target, TAG) == set(others)
    assert withdrawal.remove() == Removed()
    files = {path for path in root_of(target).rglob("*.json") if path.is_file()}
    assert files == {root_of(target) / paths[each] for each in others}
    assert all((repository.root / path).exists() for path in paths.values())


def test_a_run_is_removed_with_datasets_that_have_no_file(
    repository: Repository, target: Butler, messages: list[Products]
) -> None:
    replicate(target, repository, messages)
    other = ingest(target, root_of(target) / "other" / "isr.json", "other")
    without = target.get_many_datasets([next(iter(paths_of(messages)))])
    target.pruneDatasets(without, unstore=True, disassociate=False)
    removed = Withdrawal(target, [], [RUN, "no/such/run"]).remove()
    assert removed == Removed(datasets=20, files=19)
    assert (stored(target), stored(target, "other")) == (set(), {other.id})


@ON_SQLITE
def test_files_that_the_target_does_not_own_stay(
    repository: Repository, target: Butler, messages: list[Products]
) -> None:
    replicate(target, repository, messages, Transfer.DIRECT)
    assert Withdrawal(target, [], [RUN]).remove() == Removed(datasets=20)
    assert stored(target) == set()
    assert all((repository.root / path).exists() for path in paths_of(messages).values())


@ON_SQLITE
def test_all_datasets_of_an_artifact_are_withdrawn(
    repository: Repository, messages: list[Products]
) -> None:
    butler = repository.butler()
    run, file = f"{RUN}/raw", repository.root / "raw.json"
    file.write_text("{}")
    refs = [
        ref.replace(run=run, id=uuid4())
        for ref in butler.query_datasets(dataset_type("isr_log", butler.dimensions), RUN)
    ]
    butler.collections.register(run)
    butler.ingest(FileDataset(str(file), refs), transfer=None)
    withdrawal = Withdrawal(butler, [refs[0].id], [])
    assert set(withdrawal.ids) == {ref.id for ref in refs}
    assert withdrawal.remove() == Removed(datasets=2, files=1)
    assert not file.exists()


@ON_SQLITE
def test_a_file_that_cannot_be_removed_is_reported(
    repository: Repository,
    target: Butler,
    messages: list[Products],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replicate(target, repository, messages)
    ((one, path), *_) = paths_of(messages).items()

    def refuse(self: ResourcePath) -> None:
        raise PermissionError(f"not permitted: {self}")

    monkeypatch.setattr("lsst.resources.file.FileResourcePath.remove", refuse)
    uri = ResourcePath(str(Path(root_of(target)) / path), forceDirectory=False)
    assert Withdrawal(target, [one], []).remove() == Removed(1, 0, [str(uri)])


def replicating(target: Butler, source: Repository) -> tuple[ButlerWriter, Removals]:
    replica = ReplicaPolicy(source_root=str(source.root))
    own = target.clone()
    removals = Removals(own)
    policy = replica.policy_of(WritePolicy(missing_file_wait=0.001))
    limits = EventLimits.without_any()
    return ButlerWriter(own, policy, limits, replica=replica, removals=removals), removals


def released(source: Repository, messages: list[Products]) -> dict[int, ReleasedContent]:
    return {
        number: ReleasedContent(
            Release(m.datasets, m.dimension_records, m.dataset_types, m.chains), str(source.root)
        )
        for number, m in enumerate(messages)
    }


def test_what_a_worker_has_prepared_before_a_withdrawal_is_not_written(
    repository: Repository, target: Butler, messages: list[Products]
) -> None:
    """It hangs between both, and has left its group."""
    writer, removals = replicating(target, repository)
    prepared = writer.prepare(released(repository, messages), is_current=lambda: True)
    with Removals(target).counted():
        pass
    assert Withdrawal(target, [], [RUN]).remove() == Removed()
    # Twice: the second time, the writer divides the window to find what is at fault.
    for turn in (Turn(), Turn(is_repeated=True)):
        with pytest.raises(RetryableError, match="removed meanwhile"):
            writer.commit(prepared, is_current=lambda: True, turn=turn)
    assert stored(target) == set()

    assert removals.number() == 1
    removals.expected = 1
    report = writer.commit(prepared, is_current=lambda: True)
    assert report.inserted == len(paths_of(messages))


@pytest.mark.parametrize(
    "repository", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)
def test_a_withdrawal_waits_for_a_transaction_that_has_begun(
    repository: Repository,
    target: Butler,
    messages: list[Products],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer, _ = replicating(target, repository)
    prepared = writer.prepare(released(repository, messages), is_current=lambda: True)
    hangs, goes_on, order = Event(), Event(), []
    insert = BulkInsert.insert

    def hang(self: BulkInsert, batch: Batch) -> int:
        hangs.set()
        assert goes_on.wait(30)
        order.append("written")
        return insert(self, batch)

    monkeypatch.setattr(BulkInsert, "insert", hang)

    def withdraw() -> Removed:
        with Removals(target).counted():
            order.append("withdrawn")
        return Withdrawal(target, [], [RUN]).remove()

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(writer.commit, prepared, is_current=lambda: True)
        assert hangs.wait(30)
        withdrawing = pool.submit(withdraw)
        wait_until(lambda: waits_for_lock(repository), 30, str)
        goes_on.set()
        assert writing.result(30).inserted == 20
        assert withdrawing.result(30) == Removed(datasets=20, files=20)
    assert order == ["written", "withdrawn"]
    assert stored(target) == set()


def waits_for_lock(repository: Repository) -> bool:
    """Tell whether a session waits for a lock that is no row's or table's."""
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with engine_of(repository.reader).connect() as connection:
        return bool(connection.execute(sqlalchemy.text(waiting)).scalar_one())
