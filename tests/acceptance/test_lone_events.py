"""Windows of one event, while the database is in states that could be blamed on the event."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from tests.acceptance.bad_events import renewed
from tests.acceptance.laboratory import Laboratory
from tests.support.events import Night, encode
from tests.support.faulty_writes import (
    BAD,
    FAULTS,
    Fault,
    column_renamed,
    raising,
    table_away,
    too_much,
)
from tests.support.repositories import Repository

#: Faults by their SQLSTATEs.
STATES: dict[str, Fault] = {
    "42703": column_renamed("visit", "seq_num"),
    "P0001": raising("P0001"),
    "XX000": raising("XX000"),
    "55000": raising("55000"),
    "3F000": FAULTS["the schema is missing"],
}

#: The kinds of bad events that PostgreSQL or the Butler refuses as they are.
RAISING = [make for make in BAD.values() if make is not too_much]


@pytest.fixture
def laboratory(make_laboratory: Callable[..., Laboratory]) -> Laboratory:
    """A laboratory with one partition and short windows: each has one event."""
    return make_laboratory(partitions=1, settings={"BUTLER_WRITER_WINDOW_SECONDS": "0.1"})


@pytest.mark.slow
def test_lone_events_while_the_database_is_at_fault(laboratory: Laboratory) -> None:
    repository = Repository(laboratory.deployment.root)
    (worker,) = laboratory.start()
    with laboratory.pods.load(rate=1):
        laboratory.wait_finished(2)
        with table_away("dataset")(repository):
            laboratory.wait_not_ready(worker)
            time.sleep(10)
        for fault in STATES.values():
            laboratory.wait_finished(1)
            with fault(repository):
                laboratory.wait_not_ready(worker)
    repository.close()
    assert laboratory.reconcile().dead == 0


@pytest.mark.slow
def test_events_for_which_the_butler_or_postgresql_raises(laboratory: Laboratory) -> None:
    """Each alone, and among good ones, while these keep coming."""
    laboratory.start()
    rng = random.Random(6)
    night = Night(laboratory.deployment.root, seed=6)
    with laboratory.pods.load(rate=5):
        for visit, make in enumerate(RAISING * 3, 2000):
            bad = renewed(make(night, visit), rng, run="spoiled/run")
            laboratory.pods.send_value(encode(bad), None)
        laboratory.wait_finished(50, timeout=60)
    laboratory.reconcile(60)
