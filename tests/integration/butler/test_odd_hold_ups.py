"""Unusual reasons for which the database holds up or refuses one event: others are written."""

from __future__ import annotations

from typing import Any

import pytest

from app.butler.outcome import Rejection, Written
from testbed.writing import write_until_done, write_window
from tests.support.faulty_writes import on_insert, rival
from tests.support.repositories import Repository, decoded, written

#: What the database does at one event's row, and whether the event can be written in the end.
ACTIONS = {
    "an advisory lock is held": ("PERFORM pg_advisory_xact_lock(77)", True),
    "no transaction can be serialized": ("RAISE 'again' USING ERRCODE = '40001'", True),
    "the disk is full": ("RAISE 'full' USING ERRCODE = '53100'", True),
    "a trigger refuses the row": ("RAISE 'not this one'", False),
    "a check fails": ("RAISE 'check' USING ERRCODE = '23514'", False),
    "a unique key is taken": ("RAISE 'unique' USING ERRCODE = '23505'", False),
}


@pytest.mark.postgresql
@pytest.mark.parametrize(("action", "is_good"), ACTIONS.values(), ids=ACTIONS)
def test_an_event_for_which_the_database_has_trouble_holds_up_no_other(
    postgresql_repository: Repository, action: str, is_good: bool
) -> None:
    repository = postgresql_repository
    night = repository.night()
    events = dict(enumerate(decoded(*(night.event(visit) for visit in (1, 77, 2)))))
    writer = repository.writer(lock_timeout=0.5)
    with on_insert("visit", action, "NEW.id = 77")(repository), rival(repository) as connection:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(77)")
        outcomes = write_until_done(writer, events, 4)
    assert all(isinstance(outcomes[n], Written) for n in (0, 2))
    assert isinstance(outcomes.get(1), Rejection) is not is_good
    if is_good:
        assert list(write_until_done(writer, {1: events[1]}, 1)) == [1]


@pytest.mark.postgresql
def test_a_locked_table_of_a_rare_dataset_type_holds_up_no_other_event(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    given: dict[str, Any] = {
        "name": "rare",
        "storageClass": "StructuredDataDict",
        "dimensions": ["instrument", "physical_filter"],
    }
    night, other = repository.night(), repository.night("u/other")
    writer = repository.writer(lock_timeout=0.5)
    written(write_window(writer, decoded(night.event(1, dataset_types=[given]))))
    (table,) = repository.sql("SELECT tag_association_table FROM dataset_type WHERE name = 'rare'")
    rare = [other.event(visit, dataset_types=[given]) for visit in (2, 3)]
    events = dict(enumerate(decoded(*rare, night.event(4), night.event(5))))
    with rival(repository) as connection:
        connection.exec_driver_sql(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        for another in (writer, repository.writer(lock_timeout=0.5)):
            assert sorted(write_until_done(another, events, 4)) == [2, 3]
    assert len(write_until_done(writer, events, 2)) == 4
