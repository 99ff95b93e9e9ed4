"""Sessions of the database that do not answer any more (rule bounded-database-calls)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy

from app.butler.failures import RetryableError
from app.butler.private.registry import engine_of
from app.butler.sessions import answers
from app.butler.sessions.look import DatabaseLook
from app.errors import UnavailableError
from testbed.link import Link
from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until
from testbed.writing import write_window
from tests.support.events import Night, dataset_ids, make_repository
from tests.support.repositories import Repository, decoded, written

pytestmark = pytest.mark.postgresql


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PING_SECONDS", 1.0)
    monkeypatch.setattr(answers, "MARGIN_SECONDS", 1.0)


@pytest.fixture
def link(postgresql: PostgreSQL) -> Iterator[Link]:
    with Link(postgresql.port) as link:
        yield link


@pytest.fixture
def repository(
    postgresql: PostgreSQL, postgresql_url: str, link: Link, tmp_path: Path
) -> Iterator[Repository]:
    root = tmp_path / "repository"
    url = postgresql_url.replace(f":{postgresql.port}/", f":{link.port}/")
    make_repository(root, database=url).close()
    repository = Repository(root)
    yield repository
    repository.close()


def test_pooled_sessions_that_lead_nowhere_are_replaced(
    repository: Repository, postgresql: PostgreSQL, link: Link
) -> None:
    """After a failover, the former address accepts what is sent, and never answers."""
    first, second = (repository.night().event(1, detector) for detector in range(2))
    writer = repository.writer()
    written(write_window(writer, decoded(first)))

    link.hang()
    link.lead_to(postgresql.port)
    written(write_window(writer, decoded(second)))
    assert repository.stored() == Counter(dataset_ids(first, second))


def test_the_look_at_the_database_finds_a_new_session(
    repository: Repository, postgresql: PostgreSQL, link: Link
) -> None:
    writer = repository.writer()
    look = DatabaseLook(engine_of(writer._butler))
    look.ask()
    link.hang()
    link.lead_to(postgresql.port)
    started = time.monotonic()
    look.ask()
    assert time.monotonic() - started < 20


def test_a_statement_without_an_answer_fails_later_than_the_server_would_end_it(
    repository: Repository, link: Link
) -> None:
    engine = engine_of(repository.writer(statement_timeout=0.5)._butler)
    connection = engine.connect()
    connection.begin()
    link.hang()
    started = time.monotonic()
    with pytest.raises(sqlalchemy.exc.OperationalError, match="not answered for"):
        connection.exec_driver_sql("SELECT 1")
    assert time.monotonic() - started >= 1.5


def test_a_statement_that_the_server_allows_is_waited_for(repository: Repository) -> None:
    engine = engine_of(repository.writer(statement_timeout=20)._butler)
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(3)")


def test_a_transaction_in_a_lost_session_fails_once_a_new_session_answers(
    repository: Repository, postgresql: PostgreSQL, link: Link
) -> None:
    """It does not wait for its own limit, which is longer."""
    event = Night(repository.root).event()
    writer = repository.writer()
    look = DatabaseLook(engine_of(writer._butler))
    look.ask()
    database = engine_of(writer._butler).url.database or ""
    with (
        ThreadPoolExecutor(1) as thread,
        postgresql.connect(database) as blocking,
        blocking.transaction(),
    ):
        blocking.execute("LOCK TABLE dataset IN ACCESS EXCLUSIVE MODE")
        write = thread.submit(write_window, writer, decoded(event))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until(lambda: blocking.execute(waiting).fetchone() == (1,), 20, "the write waits")
        link.hang()
        link.lead_to(postgresql.port)
        look.ask()
        with pytest.raises(RetryableError, match="not answered for"):
            write.result(15)


def test_a_read_only_database_is_no_answer(postgresql_repository: Repository) -> None:
    """The next look may find a server that is not."""
    writer = postgresql_repository.writer()
    engine = engine_of(writer._butler)
    look = DatabaseLook(engine)
    change = f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only"
    postgresql_repository.sql(f"{change} = on")
    engine.dispose()
    with pytest.raises(UnavailableError, match="read-only"):
        look.ask()
    postgresql_repository.sql("SET default_transaction_read_only = off")
    postgresql_repository.sql(f"{change} = off")
    look.ask()
