"""Describes exceptions to operators: the only place that makes text of an exception.

A description is one line, which can be encoded, has no password and is never empty.
"""

from __future__ import annotations

from botocore.exceptions import ClientError
from sqlalchemy.exc import StatementError

from app.butler.failures import (
    RetryableError,
    database_error,
    http_status,
    is_redirect,
    never_sent,
)
from app.errors import OperatorError
from app.printable import without_logins

__all__ = ["describe", "describe_with_type"]

#: Longest description of an error, in characters.
_LONGEST = 500


def describe(error: BaseException) -> str:
    """Describe an error without SQL parameters; by its type if it has no text."""
    return _text(error) or type(error).__name__


def describe_with_type(error: BaseException) -> str:
    """Describe an error, with its type in front."""
    return ": ".join(filter(None, (type(error).__name__, _text(error))))


def _text(error: BaseException) -> str:
    text = _said_by(error)
    if isinstance(error, OperatorError | RetryableError):  # it consists of descriptions
        return _line(text)
    database = database_error(error) or never_sent(error)
    if isinstance(database, StatementError):
        text = text.replace(_said_by(database), answer := _said_by(database.orig))
        if answer not in text:
            text = f"{answer} ({text})"  # first, so that the row that it names is not cut off
    if isinstance(error, ClientError) and is_redirect(http_status(error)):
        text += "; the bucket is elsewhere: check S3_ENDPOINT_URL and AWS_DEFAULT_REGION"
    line = _line(text)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def _line(text: str) -> str:
    """Return text as one line without passwords that can be encoded, as half a character cannot."""
    line = without_logins(" ".join(text.split()))
    return line.encode(errors="backslashreplace").decode()


def _said_by(error: BaseException | None) -> str:
    try:
        return str(error)
    except Exception as exc:  # noqa: BLE001 - the error's own code, which may raise anything
        return f"without text: {type(exc).__name__}"
