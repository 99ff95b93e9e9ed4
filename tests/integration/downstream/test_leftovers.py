"""Files that a downstream repository has, and no dataset of it, are found and removed."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from lsst.daf.butler import Butler

from app.butler.failures import RetryableError
from app.operations.leftovers import Leftover, Leftovers
from app.operations.products.withdrawal import Withdrawal
from app.settings import ReplicaKafkaSettings
from models.product import Products
from tests.integration.butler.test_products import write
from tests.integration.butler.test_replica import ids, replicate, root_of, stored
from tests.integration.downstream.test_withdrawal import released, replicating
from tests.support.events import RUN
from tests.support.repositories import Repository, written


@pytest.fixture
def message(repository: Repository) -> Products:
    """What the service has written into the source."""
    (message,) = write(repository.writer(), [repository.night().event(1, 0)])
    return message


def search(target: Butler) -> Leftovers:
    """Return a search of the whole folder of the run, with all files two hours old."""
    for path in root_of(target).rglob("*"):
        os.utime(path, (time.time() - 7200,) * 2)
    folder = RUN.partition("/")[0]
    settings = ReplicaKafkaSettings()
    hour = timedelta(hours=1)
    return Leftovers(cast("Any", None), settings, (), target, older_than=hour, folders=[folder])


def paths(target: Butler, found: list[Leftover]) -> list[str]:
    return [str(Path(each.uri.ospath).relative_to(root_of(target))) for each in found]


async def test_the_file_of_a_refused_dataset_is_removed_and_no_other(
    repository: Repository, target: Butler, message: Products
) -> None:
    """Another dataset has the data ID of one, and the same file as another one."""
    refused, shared = message.datasets[3], message.datasets[5]
    elsewhere = f"{refused['path']}.other.json"
    shutil.copyfile(repository.root / refused["path"], repository.root / elsewhere)
    others = [
        {**file, "path": path, "refs": {str(uuid4()): ref}}
        for file, path in ((refused, elsewhere), (shared, shared["path"]))
        for ref in file["refs"].values()
    ]
    replicate(target, repository, [replace(message, datasets=others)])
    assert written(replicate(target, repository, [message])).left_out is not None
    searched = search(target)
    found = await searched.find()
    assert paths(target, found) == [refused["path"]]
    before = {path for path in root_of(target).rglob("*.json") if path.is_file()}
    assert searched.remove(found) == []
    after = {path for path in root_of(target).rglob("*.json") if path.is_file()}
    assert before - after == {root_of(target) / refused["path"]}
    assert await search(target).find() == []
    assert (repository.root / refused["path"]).exists()

    in_the_way = [ref.id for ref in target.query_all_datasets(RUN, limit=None)]
    Withdrawal(target, [i for i in in_the_way if str(i) in str(others)], []).remove()
    report = replicate(target, repository, [message])
    assert (written(report).left_out, report.inserted) == (None, 2)
    assert stored(target) == ids([message])


async def test_what_a_worker_has_prepared_is_prepared_again_if_its_files_are_removed(
    repository: Repository, target: Butler, message: Products
) -> None:
    writer, removals = replicating(target, repository)
    content = released(repository, [message])
    prepared = writer.prepare(content, is_current=lambda: True)
    searched = search(target)
    found = await searched.find()
    assert len(found) == len(message.datasets)
    assert searched.remove(found) == []
    with pytest.raises(RetryableError, match="removed meanwhile"):
        writer.commit(prepared, is_current=lambda: True)
    removals.expected = removals.number()
    writer.commit(writer.prepare(content, is_current=lambda: True), is_current=lambda: True)
    assert stored(target) == ids([message])
    for ref in target.query_all_datasets(RUN, limit=None):
        assert target.get(ref) == dict(ref.dataId.required)


async def test_a_file_that_a_dataset_has_by_now_stays(
    repository: Repository, target: Butler, message: Products
) -> None:
    writer, _ = replicating(target, repository)
    prepared = writer.prepare(released(repository, [message]), is_current=lambda: True)
    searched = search(target)
    found = await searched.find()
    writer.commit(prepared, is_current=lambda: True)
    failed = searched.remove(found)
    assert len(failed) == len(message.datasets)
    assert all("a dataset has it" in line for line in failed)
    assert all((root_of(target) / file["path"]).is_file() for file in message.datasets)
