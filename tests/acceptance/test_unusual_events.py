"""Unusual events of every kind, written with the deployed service's calls and with this service."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.butler.policy import WriteMethod
from testbed.postgresql import PostgreSQL
from tests.support.comparison import compare, register_table_type
from tests.support.events import make_repository
from tests.support.mutations import MUTATIONS, REFUSED
from tests.support.repositories import Repository


@pytest.mark.slow
@pytest.mark.parametrize("method", list(WriteMethod))
@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def test_every_event_that_the_deployed_service_accepts_is_written(
    request: pytest.FixtureRequest,
    topic_name: str,
    tmp_path: Path,
    database: str,
    method: WriteMethod,
) -> None:
    def make(name: str) -> Repository:
        url = None
        if database == "postgresql":
            server: PostgreSQL = request.getfixturevalue("postgresql")
            url = server.create_database(f"{topic_name}-{name}".replace("-", "_"))
        make_repository(tmp_path / name, database=url).close()
        repository = Repository(tmp_path / name)
        register_table_type(repository)
        return repository

    theirs, ours = make("theirs"), make("ours")
    assert compare((theirs, ours), MUTATIONS, method) == REFUSED.keys()
    theirs.close()
    ours.close()
