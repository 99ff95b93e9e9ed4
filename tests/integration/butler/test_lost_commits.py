"""A database that lacks its last commits, as after a failover to a replica that lagged behind."""

from __future__ import annotations

from collections import Counter

import pytest
from lsst.daf.butler import DatasetType

from app.butler.failures import RetryableError
from app.butler.policy import WriteMethod
from testbed.postgresql import PostgreSQL
from testbed.writing import write_window
from tests.support.events import Night, dataset_ids
from tests.support.repositories import Repository, decoded, written

pytestmark = pytest.mark.postgresql

FIRST, SECOND = "u/first", "u/second"


def end_sessions(postgresql: PostgreSQL, repository: Repository) -> None:
    """End all sessions of a repository, as a failover does."""
    (name,) = repository.sql("SELECT current_database()")
    with postgresql.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )


@pytest.mark.parametrize("write_method", list(WriteMethod))
def test_no_dataset_goes_into_a_run_that_has_the_key_of_a_lost_one(
    postgresql_repository: Repository, postgresql: PostgreSQL, write_method: WriteMethod
) -> None:
    repository = postgresql_repository
    writer = repository.writer(write_method=write_method)
    night = Night(repository.root, run=FIRST)
    lost, event = night.event(1), night.event(2)
    written(write_window(writer, decoded(lost)))
    (key,) = repository.sql(f"SELECT collection_id FROM collection WHERE name = '{FIRST}'")

    repository.butler().removeRuns([FIRST])
    repository.sql(f"SELECT setval('collection_seq_collection_id', {key}, false)")
    repository.butler().collections.register(SECOND)
    assert repository.sql(f"SELECT collection_id FROM collection WHERE name = '{SECOND}'") == [key]
    end_sessions(postgresql, repository)

    written(write_window(writer, decoded(event)))
    assert repository.stored(FIRST) == Counter(dataset_ids(event))
    assert repository.stored(SECOND) == Counter()


@pytest.mark.parametrize("write_method", list(WriteMethod))
def test_no_dataset_gets_a_type_that_has_the_key_of_a_lost_one(
    postgresql_repository: Repository, postgresql: PostgreSQL, write_method: WriteMethod
) -> None:
    repository = postgresql_repository
    writer = repository.writer(write_method=write_method)

    dimensions = ["instrument", "visit", "detector"]
    given = {"name": "lost", "storageClass": "StructuredDataDict", "dimensions": dimensions}
    night = Night(repository.root, run=FIRST)
    lost, event = (night.event(visit, dataset_types=[given]) for visit in (1, 2))
    written(write_window(writer, decoded(lost)))
    key_of = "SELECT id FROM dataset_type WHERE name = '{}'"
    (key,) = repository.sql(key_of.format("lost"))
    other = repository.butler()
    other.removeRuns([FIRST])
    other.registry.removeDatasetType("lost")
    repository.sql(f"SELECT setval('dataset_type_seq_id', {key}, false)")
    innocent = DatasetType("innocent", dimensions, "StructuredDataDict", universe=other.dimensions)
    other.registry.registerDatasetType(innocent)
    assert repository.sql(key_of.format("innocent")) == [key]
    end_sessions(postgresql, repository)

    window = decoded(event)
    with pytest.raises(RetryableError, match="a dataset type has changed"):
        write_window(writer, window)
    written(write_window(writer, window))
    butler = repository.butler()
    assert repository.stored(FIRST) == Counter(dataset_ids(event))
    assert len(butler.query_datasets("lost", collections=FIRST)) == 1
    assert not butler.query_datasets("innocent", collections="*", find_first=False, explain=False)


def test_records_that_were_lost_are_inserted_again(
    postgresql_repository: Repository, postgresql: PostgreSQL
) -> None:
    """Another writer has inserted the visit again, without what belongs to it.

    No foreign key notices that.
    """
    repository = postgresql_repository
    writer = repository.writer()
    night = Night(repository.root)
    written(write_window(writer, decoded(night.event(1, 0))))
    repository.sql("DELETE FROM visit_system_membership; DELETE FROM visit_definition")
    end_sessions(postgresql, repository)
    written(write_window(writer, decoded(night.event(1, 1))))
    assert repository.sql("SELECT visit FROM visit_definition") == [1]
    assert repository.sql("SELECT visit FROM visit_system_membership") == [1]
