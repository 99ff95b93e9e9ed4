"""Recognizes that the database or a file store refuses the login.

A secret that was replaced under a running worker is read again only at its next start.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError
from sqlalchemy.exc import DBAPIError

from app.butler.failures import describe, exception_chain, sqlstate
from app.errors import LoginRefusedError

__all__ = ["database_remedy", "refused_login"]

#: PostgreSQL's errors of class 28 (invalid authorization).  While a connection is being opened,
#: libpq passes on only their text.
_DATABASE_REFUSALS = re.compile(
    r"authentication failed|no password supplied"
    r'|role ".*" (does not exist|is not permitted to log in)'
)
_REFUSED_STATES = "28"

#: What else keeps libpq from opening a connection, and what to do about it.  It reads certificates
#: for each connection, and the rest is the server's: a new start would not help.
_DATABASE_REMEDIES = (
    (
        re.compile(r"pg_hba\.conf"),
        (
            "add an entry to the server's pg_hba.conf that admits this role, database, host and "
            "encryption"
        ),
    ),
    (
        re.compile(r"does not support SSL|does not match host name|root certificate"),
        (
            "check PGSSLMODE and PGSSLROOTCERT, or sslmode and sslrootcert in the repository's "
            "configuration, and the server's certificate"
        ),
    ),
    (
        re.compile(r"alert .*certificate|alert unknown ca|client certificate|private key"),
        (
            "check the client certificate, PGSSLCERT and PGSSLKEY, or sslcert and sslkey in the "
            "repository's configuration"
        ),
    ),
    (
        re.compile(r"certificate verify failed"),
        "renew the server's certificate, or check PGSSLROOTCERT",
    ),
    (
        re.compile(r'database ".*" does not exist'),
        "check the database in the repository's configuration",
    ),
)

#: S3's codes for keys or tokens that are wrong or have expired.
_S3_REFUSALS = frozenset(
    {
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)


def refused_login(error: BaseException) -> str | None:
    """Return which login was refused, and where to look; `None` for any other error.

    Parameters
    ----------
    error : `BaseException`
        The exception.  Those that it was raised from count too.
    """
    for link in exception_chain(error):
        if isinstance(link, LoginRefusedError):
            return str(link)
        if isinstance(link, DBAPIError):
            state = sqlstate(link)
            is_connecting = not state and link.orig is not None
            if state.startswith(_REFUSED_STATES) or (
                is_connecting and _DATABASE_REFUSALS.search(str(link.orig))
            ):
                reason = " ".join(str(link.orig).split())
                role = ", and the role" if "authentication" not in reason else ""
                return f"the database refuses the login: {reason}; check {_database_secret()}{role}"
        if isinstance(link, NoCredentialsError | PartialCredentialsError):
            return f"the file store needs a login: {describe(link)}; check {_s3_secret()}"
        if isinstance(link, ClientError):
            code = link.response.get("Error", {}).get("Code", "")
            if code in _S3_REFUSALS:
                return f"the file store refuses the login: {describe(link)}; check {_s3_secret()}"
    return None


def database_remedy(error: BaseException) -> str | None:
    """Return what to do about a database that cannot be connected to, although it answers.

    Parameters
    ----------
    error : `BaseException`
        The exception.  Those that it was raised from count too.
    """
    texts = [str(link.orig) for link in exception_chain(error) if isinstance(link, DBAPIError)]
    for pattern, remedy in _DATABASE_REMEDIES:
        if any(map(pattern.search, texts)):
            return remedy
    return None


def _database_secret() -> str:
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


def _s3_secret() -> str:
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return "AWS_ACCESS_KEY_ID, AWS_SHARED_CREDENTIALS_FILE or LSST_RESOURCES_S3_PROFILE_<profile>"
