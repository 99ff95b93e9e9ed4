"""Describes exceptions to operators: the only place that makes text of an exception.

A description is one line, which can be encoded, has no password and is never empty.  It may be a
part of a sentence, so it has no stop at its end; and it has none of what libraries add for
programmers.
"""

from __future__ import annotations

import errno
import os
import re

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

#: Characters of a text that are looked at: a sender may have chosen it, to take time.
_LOOKED_AT = 4 * _LONGEST

#: What asyncio says of a connection that was not made; aiohttp and aiokafka add what is left out.
_NOT_CONNECTED = re.compile(
    r"(?:\[Errno (?P<number>\d+)\] )?"
    r"Connect call failed \('(?P<host>[^']*)',?(?: (?P<port>\d+)[^)]*)?\)"
)
_NO_HOST = re.compile(r"Cannot connect to host (?P<host>\S+) ssl:.*? \[(?P<reason>.*)\]")
_NO_BROKER = re.compile(r"Unable to bootstrap from \[(?P<brokers>.*)\]")
_BROKER = re.compile(r"\('([^']*)', (\d+)")

#: What says nothing to an operator: numbers of errors, and where programmers find more.
_NOISE = re.compile(
    r"\[(?:Errno|Error) -?\d+\] |Multiple exceptions: | ?\(Background on this error at: \S+\)"
)


def describe(error: BaseException) -> str:
    """Describe an error without SQL parameters; by its type if it has no text."""
    return _text(error) or type(error).__name__


def describe_with_type(error: BaseException) -> str:
    """Describe an error, with its type in front; an error of our own needs none."""
    if isinstance(error, OperatorError | RetryableError):
        return describe(error)
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
    text = _plain(_line(text)[:_LOOKED_AT], getattr(error, "errno", None))
    if isinstance(error, ClientError) and is_redirect(http_status(error)):
        text += "; the bucket is elsewhere: check S3_ENDPOINT_URL and AWS_DEFAULT_REGION"
    line = _line(text)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def _plain(text: str, number: int | None) -> str:
    """Return what libraries say of connections in usual words.

    Parameters
    ----------
    text : `str`
        Any text.
    number : `int` or `None`
        The operating system's number of the error, if it has one.
    """

    def not_connected(found: re.Match[str]) -> str:
        reason = os.strerror(int(found["number"] or number or errno.ECONNREFUSED))
        return f"{_address(found['host'], found['port'])}: {reason}"

    def no_host(found: re.Match[str]) -> str:
        host, reason = found["host"], found["reason"]
        return reason if reason.startswith(host) else f"{host}: {reason}"

    def no_broker(found: re.Match[str]) -> str:
        brokers = [_address(*each) for each in _BROKER.findall(found["brokers"])]
        return f"no broker answers: {', '.join(brokers)}"

    text = _NO_HOST.sub(no_host, _NOT_CONNECTED.sub(not_connected, text))
    return _NOISE.sub("", _NO_BROKER.sub(no_broker, text))


def _address(host: str, port: str | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if port else shown


def _line(text: str) -> str:
    """Return text as one line without passwords and without its stop, and as it can be encoded.

    Half a character of UTF-16 cannot.
    """
    line = without_logins(" ".join(text.split())).encode(errors="backslashreplace").decode()
    return line[:-1] if line.endswith(".") and not line.endswith("..") else line


def _said_by(error: BaseException | None) -> str:
    """Return the text of an error; aiokafka's begin with their type and number."""
    try:
        own_type = rf"(?:\[Error -?\d+\] )?{re.escape(type(error).__name__)}(?:: |$)"
        return re.sub(rf"\A{own_type}", "", str(error))
    except Exception as exc:  # noqa: BLE001 - the error's own code, which may raise anything
        return f"without text: {type(exc).__name__}"
