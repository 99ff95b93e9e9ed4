"""Recognizes that the database or a file store refuses the login.

A secret that was replaced under a running worker is read again only at its next start.
"""

from __future__ import annotations

import os

from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError
from sqlalchemy.exc import DBAPIError

from app.butler.descriptions import describe
from app.butler.failures import exception_chain
from app.butler.refused_connections import RefusalKind, refused_connection
from app.errors import LoginRefusedError

__all__ = ["refusal_of", "refused_login"]

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


def refusal_of(error: BaseException) -> str | None:
    """Return why a login or a connection is refused, and the remedy; `None` for other errors."""
    connection = refused_connection(error)
    return refused_login(error) or (connection.text if connection is not None else None)


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
            refusal = refused_connection(link)
            if refusal is not None and refusal.kind is RefusalKind.LOGIN:
                return refusal.text
        if isinstance(link, NoCredentialsError | PartialCredentialsError):
            return f"the file store needs a login: {describe(link)}; check {_s3_secret()}"
        if isinstance(link, ClientError):
            code = link.response.get("Error", {}).get("Code", "")
            if code in _S3_REFUSALS:
                return f"the file store refuses the login: {describe(link)}; check {_s3_secret()}"
    return None


def _s3_secret() -> str:
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return "AWS_ACCESS_KEY_ID, AWS_SHARED_CREDENTIALS_FILE or LSST_RESOURCES_S3_PROFILE_<profile>"
