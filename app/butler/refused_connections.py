"""Recognizes why the database, or a connection pooler, refuses a connection, and names the remedy.

While a connection is being opened, libpq passes on only the text of an error, no SQLSTATE.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from app.butler.descriptions import describe
from app.butler.failures import exception_chain, sqlstate

__all__ = ["Refusal", "RefusalKind", "refused_connection"]


class RefusalKind(Enum):
    """Why a connection is refused."""

    LOGIN = auto()
    """The user is unknown, may not log in, or has another password: a new secret may help."""

    WRONG = auto()
    """Something else that somebody has to correct: a right, a server's entry, a certificate.

    libpq reads certificates for each connection, so that a new start does not help.
    """

    BUSY = auto()
    """The database takes no further connections at this moment."""


@dataclass(frozen=True)
class Refusal:
    """A refused connection.

    Attributes
    ----------
    kind : `RefusalKind`
        Why it is refused.
    text : `str`
        One line: what was refused, the reason, the remedy.
    """

    kind: RefusalKind
    text: str


#: SQLSTATEs of a refused login.
_LOGIN_STATES = "28"

#: What the text of an error says, and the remedy; the first match counts.
_REFUSALS = (
    (re.compile("is not permitted to log in"), RefusalKind.LOGIN, "ALTER ROLE {user} LOGIN"),
    (
        re.compile(r"pg_hba\.conf"),
        RefusalKind.WRONG,
        (
            "add an entry to the server's pg_hba.conf that admits this role, database, host and "
            "encryption"
        ),
    ),
    (
        re.compile(
            'authentication failed|no password supplied|role ".*" does not exist|no such user'
        ),
        RefusalKind.LOGIN,
        "check {variable}",
    ),
    (
        re.compile("permission denied for database"),
        RefusalKind.WRONG,
        "GRANT CONNECT ON DATABASE {database} TO {user}",
    ),
    (
        re.compile('database ".*" does not exist|no such database'),
        RefusalKind.WRONG,
        "create it, or correct registry.db in the repository's configuration",
    ),
    (
        re.compile("does not support SSL|does not match host name|root certificate"),
        RefusalKind.WRONG,
        (
            "check PGSSLMODE and PGSSLROOTCERT, or sslmode and sslrootcert in the repository's "
            "configuration, and the server's certificate"
        ),
    ),
    (
        re.compile("alert .*certificate|alert unknown ca|client certificate|private key"),
        RefusalKind.WRONG,
        (
            "check the client certificate, PGSSLCERT and PGSSLKEY, or sslcert and sslkey in the "
            "repository's configuration"
        ),
    ),
    (
        re.compile("certificate verify failed"),
        RefusalKind.WRONG,
        "renew the server's certificate, or check PGSSLROOTCERT",
    ),
    (
        re.compile("is not currently accepting connections"),
        RefusalKind.BUSY,
        "ALTER DATABASE {database} ALLOW_CONNECTIONS true",
    ),
    (
        re.compile("too many connections for role"),
        RefusalKind.BUSY,
        "end others of its sessions, or raise ALTER ROLE {user} CONNECTION LIMIT",
    ),
    (
        re.compile("too many connections for database"),
        RefusalKind.BUSY,
        "end other sessions, or raise ALTER DATABASE {database} CONNECTION LIMIT",
    ),
    (
        re.compile("too many clients|connection slots are reserved|no more connections allowed"),
        RefusalKind.BUSY,
        "end other sessions, or raise max_connections of the server",
    ),
)


def refused_connection(error: BaseException) -> Refusal | None:
    """Return why the database refuses a connection; `None` for any other error.

    Parameters
    ----------
    error : `BaseException`
        The exception.  Those that it was raised from count too.
    """
    for link in exception_chain(error):
        if isinstance(link, DBAPIError) and (refusal := _refusal(link)) is not None:
            return refusal
    return None


def _refusal(error: DBAPIError) -> Refusal | None:
    if state := sqlstate(error):
        is_login = state.startswith(_LOGIN_STATES)
        return _with_remedy(error, RefusalKind.LOGIN, "check {variable}") if is_login else None
    if isinstance(error, OperationalError | InterfaceError):
        text = str(error.orig)
        for pattern, kind, remedy in _REFUSALS:
            if pattern.search(text):
                return _with_remedy(error, kind, remedy)
    return None


def _with_remedy(error: DBAPIError, kind: RefusalKind, remedy: str) -> Refusal:
    refused = "refuses the login" if kind is RefusalKind.LOGIN else "refuses the connection"
    connection = getattr(error.orig, "pgconn", None)
    names = {
        name: f'"{value.decode(errors="replace")}"' if value else f"<{name}>"
        for name in ("user", "db")
        for value in (getattr(connection, name, None),)
    }
    remedy = remedy.format(variable=_secret(), user=names["user"], database=names["db"])
    return Refusal(kind, f"the database {refused}: {describe(error)}; {remedy}")


def _secret() -> str:
    """Return where Butler and libpq take the password from."""
    if "LSST_DB_AUTH_CREDENTIALS" in os.environ:
        return "LSST_DB_AUTH_CREDENTIALS"
    file = os.environ.get("LSST_DB_AUTH", "~/.lsst/db-auth.yaml")
    if Path(file).expanduser().exists():
        return f"LSST_DB_AUTH ({file})"
    if "PGPASSWORD" in os.environ:
        return "PGPASSWORD"
    file = os.environ.get("PGPASSFILE", "~/.pgpass")
    if Path(file).expanduser().exists():
        return f"PGPASSFILE ({file})"
    return "the password in the repository's configuration, or set PGPASSWORD"
