"""Good events are written soon, however many others wait for locks of somebody else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from app.butler.outcome import Written
from testbed.writing import write_until_done
from tests.support.events import INSTRUMENT, group_name
from tests.support.faulty_writes import rival
from tests.support.repositories import Repository, decoded


@contextmanager
def groups_locked(repository: Repository, visits: Iterable[int]) -> Iterator[None]:
    """Hold the rows of the groups of visits, uncommitted, in another session."""
    with rival(repository) as connection:
        for visit in visits:
            connection.exec_driver_sql(
                'INSERT INTO "group" (instrument, name) VALUES (%(instrument)s, %(name)s)',
                {"instrument": INSTRUMENT, "name": group_name(visit)},
            )
        yield


@pytest.mark.postgresql
@pytest.mark.parametrize("number", [16, pytest.param(200, marks=pytest.mark.slow)])
def test_many_locked_visits_do_not_hold_up_the_others(
    postgresql_repository: Repository, number: int
) -> None:
    repository = postgresql_repository
    night = repository.night()
    locked = range(2, 2 * number + 2, 2)
    events = dict(enumerate(decoded(*(night.event(v) for v in range(1, 2 * number + 2))), 1))
    writer = repository.writer(lock_timeout=1)
    with groups_locked(repository, locked):
        outcomes = write_until_done(writer, events, 3 if number < 100 else 5)
        assert sorted(outcomes) == sorted(events.keys() - set(locked))
    assert all(isinstance(outcome, Written) for outcome in outcomes.values())


@pytest.mark.postgresql
@pytest.mark.parametrize("visits", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_a_locked_detector_does_not_hold_up_the_other_detectors_of_many_visits(
    postgresql_repository: Repository, visits: int
) -> None:
    repository = postgresql_repository
    night = repository.night()
    given = [(visit, detector) for visit in range(1, visits + 1) for detector in range(3)]
    events = dict(enumerate(decoded(*(night.event(*each) for each in given))))
    writer = repository.writer(lock_timeout=1)
    with rival(repository) as connection:
        connection.exec_driver_sql("SELECT 1 FROM detector WHERE id = 1 FOR UPDATE")
        outcomes = write_until_done(writer, events, 3)
        assert sorted(outcomes) == [n for n, (_, detector) in enumerate(given) if detector != 1]
