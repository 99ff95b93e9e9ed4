"""Each reason why PostgreSQL refuses a connection is named, with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from app.butler.logins import refused_login
from app.butler.repository.connection import RepositoryError, opening
from app.errors import UnavailableError
from app.telemetry.availability import AvailabilityWatch, in_daemon_thread
from app.telemetry.status import Status
from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until

pytestmark = pytest.mark.postgresql


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A server that refuses connections for many reasons, and has two slots left for users."""
    server = PostgreSQL({"max_connections": 5, "superuser_reserved_connections": 3})
    with server:
        with server.connect() as connection:
            for statement in (
                "CREATE ROLE writer LOGIN",
                "CREATE ROLE retired NOLOGIN",
                "CREATE ROLE few LOGIN CONNECTION LIMIT 0",
                "CREATE ROLE rejected LOGIN",
                "CREATE DATABASE private",
                "REVOKE CONNECT ON DATABASE private FROM PUBLIC",
                "CREATE DATABASE closed ALLOW_CONNECTIONS false",
                "CREATE DATABASE small CONNECTION LIMIT 0",
            ):
                connection.execute(statement)
            ((name,),) = connection.execute("SHOW hba_file").fetchall()
            rules = Path(name)
            rules.write_text(f"host all rejected all reject\n{rules.read_text()}")
            connection.execute("SELECT pg_reload_conf()")
        wait_until(lambda: "pg_hba.conf" in refusal(server, "rejected"), 30, "the rule is in force")
        yield server


def connect(server: PostgreSQL, user: str, database: str) -> sqlalchemy.Connection:
    url = server.url(database).replace("postgresql://postgres@", f"postgresql+psycopg://{user}@")
    return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect()


def refusal(server: PostgreSQL, user: str) -> str:
    try:
        connect(server, user, "postgres").close()
    except sqlalchemy.exc.OperationalError as exc:
        return str(exc.orig)
    return ""


@pytest.mark.parametrize(
    ("user", "database", "says", "remedy"),
    [
        (
            "writer",
            "private",
            "refuses the connection: ",
            'GRANT CONNECT ON DATABASE "private" TO "writer"',
        ),
        ("writer", "nowhere", "refuses the connection: ", "registry.db in the repository's config"),
        ("retired", "postgres", "refuses the login: ", 'ALTER ROLE "retired" LOGIN'),
        (
            "rejected",
            "postgres",
            "refuses the connection: ",
            "an entry to the server's pg_hba.conf",
        ),
        ("unknown", "postgres", "refuses the login: ", "check "),
        ("writer", "closed", "refuses the connection: ", 'DATABASE "closed" ALLOW_CONNECTIONS'),
        ("few", "postgres", "refuses the connection: ", 'ALTER ROLE "few" CONNECTION LIMIT'),
        ("writer", "small", "refuses the connection: ", 'DATABASE "small" CONNECTION LIMIT'),
    ],
)
async def test_the_reason_is_named_at_the_start_and_later(
    server: PostgreSQL, user: str, database: str, says: str, remedy: str
) -> None:
    with pytest.raises(RepositoryError) as raised, opening("repository"):
        connect(server, user, database)
    reason = str(raised.value)
    assert f"the database {says}" in reason
    assert remedy in reason
    assert "\n" not in reason
    assert isinstance(raised.value, UnavailableError) == (
        database in "closed small" or user == "few"
    )
    assert (refused_login(raised.value.__cause__ or raised.value) is not None) == ("login" in says)

    status = Status()
    status.assigned()
    look = AvailabilityWatch(
        "the database",
        lambda: in_daemon_thread(lambda: connect(server, user, database).close()),
        status,
        timeout=30,
    )
    await look.check()
    assert status.not_ready is not None
    assert status.not_ready.startswith(f"the database {says}")
    assert remedy in status.not_ready


def test_a_server_without_a_free_slot_is_waited_for(server: PostgreSQL) -> None:
    sessions = [connect(server, "writer", "postgres") for _ in range(2)]
    with pytest.raises(UnavailableError, match="or raise max_connections") as raised:  # noqa: SIM117
        with opening("repository"):
            connect(server, "writer", "postgres")
    assert "the database refuses the connection: " in str(raised.value)
    for session in sessions:
        session.close()
