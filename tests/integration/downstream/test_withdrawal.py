"""Datasets are taken out of a downstream repository, with the files that it owns."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from lsst.daf.butler import Butler, FileDataset
from lsst.resources import ResourcePath

from app.butler.policy import Transfer
from app.operations.products.withdrawal import Removed, Withdrawal
from models.product import Products
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
