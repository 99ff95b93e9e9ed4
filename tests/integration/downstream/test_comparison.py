"""What ``diff`` finds in a downstream repository, under the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy
from lsst.daf.butler import Butler, DatasetRef

from app.butler.private.ingest_dates import Period
from app.butler.private.registry import engine_of
from app.butler.products.stored_products import StoredProducts
from app.downstream.selector import Selector
from app.downstream.withdrawn import Withdrawn
from app.errors import OperatorError
from app.operations.products.comparison import Comparison, Difference, Finding, check_universes
from app.operations.products.selected_runs import select_runs
from app.parts import Replica
from models.product import Products
from tests.integration.butler.test_products import write
from tests.integration.butler.test_replica import replicate
from tests.support.downstream import selected
from tests.support.events import RUN, UNIVERSE_7, make_repository
from tests.support.repositories import Repository
from tests.unit.downstream.messages import HOUR, SECOND, selector

#: The end of every visit of a `Night`: 2026-11-24T02:00:30 TAI.
END = (1_795_485_630 - 37) * SECOND

DUE = END + 80 * HOUR

RULES = """
- dataset_types: ["*_log"]
  embargo_hours: 80
- dataset_types: ["post_isr_summary"]
  exclude: true
- dataset_types: ["*"]
  embargo_hours: 0
"""

ON_SQLITE = pytest.mark.parametrize("repository", ["sqlite"], indirect=True)


#: Fewer than the instrument has.
DETECTORS = 2


def log_of(repository: Repository, visits: Sequence[int] = (1,)) -> list[Products]:
    """Write visits into the source; return the messages of the product log."""
    night, writer = repository.night(), repository.writer()
    events = [night.event(visit, n) for visit in visits for n in range(DETECTORS)]
    return write(writer, events)


def compare(
    source: Repository,
    target: Butler,
    now: int = DUE,
    rules: str | None = RULES,
    period: Period = Period(),  # noqa: B008 - it is not changed
    withdrawn: Withdrawn = Withdrawn(),  # noqa: B008 - it is not changed
) -> tuple[list[Difference], Counter[str]]:
    universe = target.dimensions
    chosen: Selector | None = None if rules is None else selector(rules)
    replica = Replica(universe=(universe.namespace, universe.version), selector=chosen)
    target.registry.refresh()
    comparison = Comparison(
        StoredProducts(source.reader), StoredProducts(target), replica, now, withdrawn
    )
    runs = select_runs([RUN], source.reader, target)
    found = [each for run in runs for each in comparison.of_run(run, period)]
    return found, +comparison.counts


def of_types(messages: list[Products], *patterns: str) -> set[str]:
    chosen = selected(messages, *patterns)
    return {i for message in chosen for file in message.datasets for i in file["refs"]}


def found_ids(differences: list[Difference], finding: Finding) -> set[str]:
    return {each.id for each in differences if each.finding is finding}


def prune(butler: Butler, ids: set[str]) -> list[DatasetRef]:
    refs = butler.get_many_datasets(map(UUID, ids))
    butler.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
    return refs


def test_a_target_that_has_everything_is_the_same(repository: Repository, target: Butler) -> None:
    messages = log_of(repository, visits=(1, 2))
    replicate(target, repository, messages)
    assert compare(repository, target, rules=None) == ([], Counter(same=2 * DETECTORS * 10))


def test_what_is_due_is_missing_and_what_is_not_due_is_not(
    repository: Repository, target: Butler
) -> None:
    messages = log_of(repository)
    logs, excluded = (of_types(messages, *types) for types in (["*_log"], ["post_isr_summary"]))
    at_once = of_types(messages, "*") - logs - excluded
    differences, counts = compare(repository, target, now=DUE - 1)
    assert found_ids(differences, Finding.MISSING) == at_once
    assert counts == Counter(missing=len(at_once), waiting=len(logs), excluded=len(excluded))
    differences, counts = compare(repository, target, now=DUE)
    assert found_ids(differences, Finding.MISSING) == at_once | logs
    assert counts == Counter(missing=len(at_once | logs), excluded=len(excluded))


@ON_SQLITE
def test_what_the_rules_would_not_let_in_is_extra(repository: Repository, target: Butler) -> None:
    messages = log_of(repository)
    replicate(target, repository, messages)
    differences, counts = compare(repository, target, now=DUE - 1)
    logs, excluded = (of_types(messages, *types) for types in (["*_log"], ["post_isr_summary"]))
    reasons = {each.id: (each.finding, each.reason) for each in differences}
    assert reasons == {
        **dict.fromkeys(logs, (Finding.EXTRA, "waiting")),
        **dict.fromkeys(excluded, (Finding.EXTRA, "excluded")),
    }
    assert counts["same"] == len(of_types(messages, "*")) - len(reasons)


@ON_SQLITE
def test_what_was_removed_from_the_source_is_not_missing(
    repository: Repository, target: Butler
) -> None:
    messages = log_of(repository)
    released, unknown = of_types(messages, "*_metadata"), of_types(messages, "*_log")
    replicate(target, repository, [*selected(messages, "*_metadata", "post_isr_summary")])
    with repository.butler() as butler:
        prune(butler, of_types(messages, "*"))
    differences, counts = compare(repository, target)
    assert counts["removed"] == len(released)
    # It was never there rightly, whether the source has it or not.
    assert found_ids(differences, Finding.EXTRA) == of_types(messages, "post_isr_summary")
    assert not found_ids(differences, Finding.MISSING)
    assert not unknown & {each.id for each in differences}


@ON_SQLITE
def test_a_dataset_without_a_file_in_the_source_is_not_missing(
    repository: Repository, target: Butler
) -> None:
    messages = log_of(repository)
    with repository.butler() as butler:
        refs = butler.get_many_datasets(map(UUID, of_types(messages, "*")))
        butler.pruneDatasets(refs, unstore=True, disassociate=False)
    assert compare(repository, target) == ([], Counter())


def test_a_dataset_that_differs_is_found_with_the_reason(
    repository: Repository, target: Butler
) -> None:
    messages = log_of(repository)
    replicate(target, repository, messages)
    (sized,) = [*of_types(messages, "single_visit_summary")][:1]
    visit = target.query_dimension_records("visit", instrument="TestCam", visit=1)[0]
    with engine_of(target).begin() as connection:
        table = target._datastore._table._table  # type: ignore[attr-defined]
        changed = table.update().where(table.columns.dataset_id == UUID(sized))
        connection.execute(changed.values(file_size=7))
    with repository.butler() as butler, engine_of(butler).begin() as connection:
        table = butler._datastore._table._table  # type: ignore[attr-defined]
        connection.execute(table.update().values(file_size=8))
        name = sqlalchemy.text("UPDATE visit SET science_program = 'other'")
        connection.execute(name)
    differences, _ = compare(repository, target, rules=None)
    reasons = {each.id: each.reason for each in differences}
    assert {each.finding for each in differences} == {Finding.DIFFERENT}
    assert reasons.pop(sized) == "the size of its file"
    assert set(reasons.values()) == {f"the dimension record visit TestCam, {visit.id}"}
    # A group leads to its exposures, and these to the visit; an exposure alone does not.
    of_exposures = of_types(messages, "*isr*")
    assert reasons.keys() == of_types(messages, "*") - of_exposures - {sized}


@ON_SQLITE
def test_what_was_withdrawn_is_not_missing_and_should_not_be_there(
    repository: Repository, target: Butler
) -> None:
    messages = log_of(repository)
    one, two, *_ = of_types(messages, "*_metadata")
    replicate(target, repository, messages)
    prune(target, {one})
    withdrawn = Withdrawn({UUID(one), UUID(two)})
    differences, counts = compare(repository, target, rules=None, withdrawn=withdrawn)
    assert [(each.finding, each.id) for each in differences] == [(Finding.EXTRA, two)]
    assert counts["excluded"] == 1


@ON_SQLITE
def test_only_what_came_in_the_period_is_compared(repository: Repository, target: Butler) -> None:
    log_of(repository)
    now = datetime.now(UTC)
    for period, number in (
        (Period(since=now - timedelta(minutes=5)), DETECTORS * 10),
        (Period(since=now + timedelta(minutes=5)), 0),
        (Period(until=now - timedelta(minutes=5)), 0),
        (Period(until=now + timedelta(minutes=5)), DETECTORS * 10),
    ):
        differences, _ = compare(repository, target, rules=None, period=period)
        assert len(differences) == number
    assert StoredProducts(repository.reader).runs(Period(since=now - timedelta(minutes=5))) == {RUN}
    assert StoredProducts(repository.reader).runs(Period(until=now - timedelta(minutes=5))) == set()


@ON_SQLITE
def test_repositories_of_different_universes_are_not_compared(
    repository: Repository, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = make_repository(tmp_path_factory.mktemp("other") / "other", universe=UNIVERSE_7)
    with pytest.raises(OperatorError, match="version 7 of the dimension universe"):
        check_universes(StoredProducts(other), StoredProducts(repository.reader))
