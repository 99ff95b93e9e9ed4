"""The role of deploy/downstream/roles.sql has all rights that a worker needs, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import sqlalchemy
from lsst.daf.butler import Butler
from sqlalchemy.exc import ProgrammingError

from app.butler.policy import TagWinner
from app.butler.private.registry import engine_of
from app.butler.private.removals import Removals
from app.butler.private.rights import missing_grants
from app.operations.products.withdrawal import Removed, Withdrawal
from tests.integration.butler.test_products import write
from tests.integration.butler.test_replica import TAG, ids, replicate, root_of, stored
from tests.support.events import CHAIN, RUN
from tests.support.least_rights import DOWNSTREAM_ROLE, DOWNSTREAM_ROLES, drop_role, use_role
from tests.support.repositories import Repository

pytestmark = pytest.mark.parametrize(
    "repository", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)


def execute(butler: Butler, *statements: str) -> None:
    with engine_of(butler).begin() as connection:
        for statement in statements:
            # SQLAlchemy would take the format of a text for a parameter.
            connection.connection.cursor().execute(statement.encode())


@pytest.fixture
def limited(target: Butler) -> Iterator[Butler]:
    """The empty target, for a role that owns nothing."""
    execute(target, "REVOKE ALL ON SCHEMA public FROM PUBLIC", DOWNSTREAM_ROLES, DOWNSTREAM_ROLES)
    use_role(root_of(target), DOWNSTREAM_ROLE)
    with closing(Butler.from_config(str(root_of(target)), writeable=True)) as butler:
        yield butler
    execute(target, drop_role(DOWNSTREAM_ROLE))


def test_the_role_fills_an_empty_target(
    repository: Repository, target: Butler, limited: Butler
) -> None:
    writer = repository.writer()
    first = write(writer, [repository.night().event(1, 0)])
    second = write(writer, [repository.night(f"{RUN}/again").event(1, 0)])
    limited.collections.register(RUN)
    for messages in (first, second):
        report = replicate(limited, repository, messages, tag=TAG, winner=TagWinner.NEWEST)
        assert report.inserted == len(ids(messages))
    assert report.lost_tags == len(ids(second))
    assert stored(limited, TAG) == ids(second)
    assert limited.collections.get_info(CHAIN).children == (f"{RUN}/again", RUN)
    with engine_of(limited).connect() as connection:
        assert connection.scalar(sqlalchemy.select(sqlalchemy.func.current_user())) == (
            DOWNSTREAM_ROLE
        )
        assert missing_grants(connection, None) == []
    with Removals(target).counted():
        pass
    assert Removals(limited).number() == 1
    target.registry.refresh()
    assert Withdrawal(target, [], [RUN]).remove() == Removed(datasets=10, files=10)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM dataset",
        "DELETE FROM file_datastore_records",
        "UPDATE file_datastore_records SET path = ''",
        "UPDATE visit SET name = ''",
        "INSERT INTO butler_attributes VALUES ('butler-writer/removals', '7')",
        "UPDATE butler_attributes SET value = '7'",
        "DROP TABLE visit",
        "CREATE ROLE another",
    ],
)
def test_the_role_may_do_nothing_else(
    repository: Repository, limited: Butler, statement: str
) -> None:
    with (
        engine_of(limited).connect() as connection,
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
    ):
        connection.exec_driver_sql(statement)
