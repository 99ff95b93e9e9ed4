"""Events that could hold up all others: large regions, locked rows, statements that never end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lsst.daf.butler import CollectionType

from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until
from tests.acceptance.laboratory import Laboratory
from tests.support.events import Night, dataset_ids, encode, stored_ids
from tests.support.faulty_writes import changed, on_insert
from tests.support.regions import circle, nested
from tests.support.repositories import Repository

MakeLaboratory = Callable[..., Laboratory]

#: How long an event may hold up others, in seconds.
LONGEST = 60


def wait_written(laboratory: Laboratory, *events: dict[str, Any]) -> None:
    """Wait until good events are in the Butler."""
    expected = dataset_ids(*events)
    wait_until(
        lambda: expected <= set(stored_ids(laboratory.deployment.fresh_butler(), "*")),
        LONGEST,
        "the good events are written",
        interval=1,
    )


def send(laboratory: Laboratory, event: dict[str, Any], *, is_good: bool = True) -> None:
    laboratory.pods.send_value(encode(event), event if is_good else None)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_large_regions_hold_up_no_other_event(make_laboratory: MakeLaboratory) -> None:
    """Ten circles of 90 degrees and a nested region are refused, sixty of 30 degrees written."""
    laboratory = make_laboratory(partitions=1, settings={"BUTLER_WRITER_WINDOW_SECONDS": "1"})
    night = Night(laboratory.deployment.root, seed=5)
    regions = [*[circle(90).encode()] * 10, nested(100_000)]
    for visit, region in enumerate(regions, 1):
        bad = changed(night.event(visit), "visit", region=region.hex())
        send(laboratory, bad, is_good=False)
    good = night.event(100)
    send(laboratory, good)
    laboratory.start()
    wait_written(laboratory, good)
    for visit in range(200, 260):
        send(laboratory, changed(night.event(visit), "visit", region=circle(30).encode().hex()))
    good = night.event(101)
    send(laboratory, good)
    wait_written(laboratory, good)
    tally = laboratory.reconcile(240)
    assert tally.dead == len(regions)
    assert tally.peak_rss < 1024, "the deployed pod has 1 GiB"


@pytest.mark.slow
def test_a_row_that_somebody_locks_holds_up_no_other_event(
    make_laboratory: MakeLaboratory, private_postgresql: PostgreSQL
) -> None:
    laboratory = make_laboratory(
        database=private_postgresql.create_database("butler"),
        partitions=1,
        settings={"BUTLER_WRITER_LOCK_TIMEOUT": "2", "BUTLER_WRITER_ALLOWED_CHAINS": ".*"},
    )
    night = Night(laboratory.deployment.root, seed=6)
    event, *others = [night.event(visit) for visit in range(1, 8)]
    with private_postgresql.connect("butler") as rival, rival.transaction(force_rollback=True):
        rival.execute(
            'INSERT INTO "group" (instrument, name) VALUES (%s, %s)',
            tuple(event["datasets"][-1]["refs"].popitem()[1]["data_id"].values())[:2],
        )
        event = night.event(1)
        (worker,) = laboratory.start()
        for given in (event, *others):
            send(laboratory, given)
        wait_written(laboratory, *others)
        assert worker.status("/readyz") == 200
        assert laboratory.deployment.committed() == 0
        assert not laboratory.deployment.dead_letters()
    assert laboratory.reconcile().dead == 0


@pytest.mark.slow
def test_a_chain_that_somebody_locks_holds_up_no_other_event(
    make_laboratory: MakeLaboratory, private_postgresql: PostgreSQL
) -> None:
    laboratory = make_laboratory(
        database=private_postgresql.create_database("butler"),
        partitions=1,
        settings={"BUTLER_WRITER_LOCK_TIMEOUT": "2", "BUTLER_WRITER_ALLOWED_CHAINS": ".*"},
    )
    deployment = laboratory.deployment
    deployment.butler.collections.register("busy", CollectionType.CHAINED)
    night = Night(deployment.root, seed=8)
    event, *others = [night.event(1, chains=["busy"]), *(night.event(v) for v in range(2, 8))]
    with private_postgresql.connect("butler") as rival, rival.transaction(force_rollback=True):
        rival.execute("SELECT 1 FROM collection WHERE name = 'busy' FOR UPDATE")
        (worker,) = laboratory.start()
        for given in (event, *others):
            send(laboratory, given)
        expected = {str(dataset_id) for dataset_id in dataset_ids(*others)}
        wait_until(
            lambda: set(deployment.announced_ids()) == expected, LONGEST, "the others are announced"
        )
        wait_until(lambda: worker.status("/readyz") == 200, 10, "the worker is ready")
        assert deployment.committed() == 0
    assert laboratory.reconcile().dead == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_statement_that_takes_too_long_for_one_event_holds_up_no_other(
    make_laboratory: MakeLaboratory,
) -> None:
    laboratory = make_laboratory(settings={"BUTLER_WRITER_STATEMENT_TIMEOUT": "10"})
    night = Night(laboratory.deployment.root, seed=7)
    with on_insert("visit", "PERFORM pg_sleep(600)", "NEW.seq_num = 7777")(
        Repository(laboratory.deployment.root)
    ):
        laboratory.start()
        bad = changed(night.event(7777), "visit", seq_num=7777)
        send(laboratory, bad, is_good=False)
        good = [night.event(visit) for visit in range(1, 30)]
        for event in good:
            send(laboratory, event)
        wait_written(laboratory, *good)
        laboratory.reconcile(400)
