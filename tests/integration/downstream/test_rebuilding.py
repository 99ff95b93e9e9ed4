"""The product log is written anew from what a repository has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from lsst.daf.butler import Butler, CollectionType, DatasetRef, DatasetType, FileDataset

from app.announce.product_log import ProductLog
from app.butler.policy import WritePolicy
from app.butler.private.ingest_dates import Period
from app.butler.products import window_files
from app.butler.products.stored_products import StoredProducts
from app.butler.repository.chains import ChainKeeper
from app.kafka.sending import OutputTopic
from app.operations.products.rebuilding import Rebuilt, rebuild
from app.operations.products.selected_runs import chains_of_runs, select_runs
from models.product import Products
from tests.integration.butler.test_parity import CHAINED, datasets_manager
from tests.integration.butler.test_products import write
from tests.integration.butler.test_replica import replicate, stored
from tests.support.events import (
    CHAIN,
    FORMATTER,
    INSTRUMENT,
    RUN,
    Night,
    make_repository,
)
from tests.support.product_import import import_products
from tests.support.repositories import Repository

INIT = f"{RUN}/init"

ON_SQLITE = pytest.mark.parametrize("repository", ["sqlite"], indirect=True)


class Log:
    """Takes messages."""

    def __init__(self) -> None:
        self.messages: list[Products] = []

    async def send(
        self,
        topic: OutputTopic,
        *,
        value: bytes,
        key: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        message = Products.decode(value)
        assert (topic, key, headers) == (OutputTopic.PRODUCTS, message.run.encode(), None)
        self.messages.append(message)


def ingest(butler: Butler, path: Path, run: str = INIT, transfer: str | None = None) -> DatasetRef:
    """Write a dataset beside the service, as the init-outputs of a pipeline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    kind = DatasetType(
        f"{path.stem}_config", ("instrument",), "StructuredDataDict", universe=butler.dimensions
    )
    butler.registry.registerDatasetType(kind)
    ref = DatasetRef(kind, butler.registry.expandDataId(instrument=INSTRUMENT), run)
    butler.collections.register(run)
    name = path.as_uri() if transfer == "direct" else str(path)
    butler.ingest(
        FileDataset(name, ref, formatter=FORMATTER),
        transfer=transfer,
        record_validation_info=False,
    )
    return ref


def fill(repository: Repository, detectors: int = 3) -> Butler:
    """Write a visit with the service, and an init-output beside it."""
    night = repository.night()
    write(repository.writer(), [night.event(1, detector) for detector in range(detectors)])
    butler = repository.butler()
    ingest(butler, repository.root / INIT / "isr.json")
    ChainKeeper(butler).ensure([(CHAIN, RUN), (CHAIN, INIT)])
    return butler


async def logged(
    repository: Repository,
    patterns: Sequence[str] = (CHAIN,),
    period: Period = Period(),  # noqa: B008 - it is not changed
    limit: int = 2**20,
) -> tuple[list[Products], list[Rebuilt]]:
    butler = repository.reader
    butler.registry.refresh()
    products, sink = StoredProducts(butler), Log()
    runs = chains_of_runs(
        butler, products, select_runs(patterns, butler), period, WritePolicy().chain_pattern
    )
    done = [await rebuild(products, run, period, ProductLog(limit), sink) for run in runs]
    return sink.messages, done


def logged_ids(messages: Sequence[Products]) -> set[UUID]:
    return {UUID(i) for message in messages for file in message.datasets for i in file["refs"]}


def records(butler: Butler) -> dict[str, list[str]]:
    """Return all dimension records of a repository, but for the detectors of its instrument."""
    return {
        element.name: sorted(
            record.to_simple().model_dump_json()
            for record in butler.query_dimension_records(element.name, explain=False, limit=None)
        )
        for element in butler.dimensions.elements
        if element.has_own_table and element.name != "detector"
    }


async def test_a_repository_that_is_filled_from_a_rebuilt_log_is_the_same(
    repository: Repository, target: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_files, "_DATASETS_AT_ONCE", 10)
    fill(repository)
    messages, done = await logged(repository, limit=8_000)
    assert [each.run for each in done] == [RUN, INIT]  # as they came into the chain
    assert {m.run: m.chain_positions for m in messages} == {RUN: {CHAIN: -1}, INIT: {CHAIN: -2}}
    assert [each.datasets for each in done] == [3 * 10, 1]
    assert sum(each.messages for each in done) == len(messages) > 2
    import_products(target, messages, repository.root)
    for run in (RUN, INIT):
        expected = {ref.id: ref for ref in repository.reader.query_all_datasets(run, limit=None)}
        found = {ref.id: ref for ref in target.query_all_datasets(run, limit=None)}
        assert found == expected
        assert all(target.get(ref) == repository.reader.get(ref) for ref in found.values())
    assert target.collections.get_info(CHAIN).children == (INIT, RUN)
    assert records(target) == records(repository.reader)


@ON_SQLITE
async def test_the_role_takes_rebuilt_messages_beside_those_of_the_service(
    repository: Repository, target: Butler
) -> None:
    fill(repository, 2)
    messages, _ = await logged(repository)
    replicate(target, repository, messages)
    again, _ = await logged(repository)
    assert {m.batch_id for m in again}.isdisjoint(m.batch_id for m in messages)
    replicate(target, repository, again)
    assert stored(target) | stored(target, INIT) == logged_ids(messages)
    assert target.collections.get_info(CHAIN).children == (INIT, RUN)


@ON_SQLITE
async def test_only_what_came_in_the_period_or_into_the_run_is_logged(
    repository: Repository,
) -> None:
    butler = fill(repository, 1)
    now = datetime.now(UTC)
    messages, _ = await logged(repository, (), Period(since=now - timedelta(minutes=5)))
    assert len(logged_ids(messages)) == 11
    assert (await logged(repository, (), Period(since=now + timedelta(minutes=5)))) == ([], [])
    (message,), _ = await logged(repository, [INIT])
    assert (message.run, message.chains) == (INIT, [CHAIN])
    (ref,) = butler.query_datasets("isr_config", INIT)
    assert logged_ids([message]) == {ref.id}


@ON_SQLITE
async def test_chains_of_others_are_not_logged(repository: Repository) -> None:
    butler = fill(repository, 1)
    butler.collections.register("u/someone", CollectionType.CHAINED)
    butler.collections.redefine_chain("u/someone", [RUN])
    messages, _ = await logged(repository, [RUN])
    assert [message.chains for message in messages] == [[CHAIN]]


@ON_SQLITE
async def test_artifacts_that_the_log_cannot_describe_are_counted(
    repository: Repository, tmp_path: Path
) -> None:
    butler = fill(repository, 1)
    ingest(butler, tmp_path / "elsewhere.json", transfer="direct")
    messages, done = await logged(repository, [INIT])
    assert [(each.datasets, each.left_out) for each in done] == [(1, 1)]
    assert len(logged_ids(messages)) == 1


@ON_SQLITE
async def test_a_dry_run_says_how_many_and_sends_nothing(repository: Repository) -> None:
    fill(repository, 1)
    products = StoredProducts(repository.reader)
    (run, _) = chains_of_runs(
        repository.reader, products, select_runs([CHAIN], repository.reader), Period(), None
    )
    done = await rebuild(products, run, Period(), ProductLog(2**20), None)
    assert (done.datasets, done.messages, done.left_out) == (10, 1, 0)


@pytest.mark.parametrize("config", [CHAINED, datasets_manager("1.0.0")], ids=["chained", "1.0.0"])
async def test_datastores_of_a_chain_and_dates_of_another_schema_are_read(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    make_repository(tmp_path / "other", config=config).close()
    repository = Repository(tmp_path / "other")
    night = Night(universe=repository.reader.dimensions)
    logged_by_the_service = write(repository.writer(file_check="none"), [night.event(1, 0)])
    recent = Period(since=datetime.now(UTC) - timedelta(minutes=5))
    messages, _ = await logged(repository, [RUN], recent)

    def files(given: Sequence[Products]) -> dict[str, tuple[str, str]]:
        return {
            dataset_id: (message.datastore, file["path"])
            for message in given
            for file in message.datasets
            for dataset_id in file["refs"]
        }

    assert files(messages) == files(logged_by_the_service)
    assert len(files(messages)) == sum(len(m.datasets) for m in messages) == 10
    assert await logged(repository, [RUN], Period(until=recent.since)) == ([], [])
    repository.close()
