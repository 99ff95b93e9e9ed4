"""Errors that an operator has to fix, and how they are reported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from app.printable import printable

__all__ = [
    "LoginRefusedError",
    "OperatorError",
    "UnavailableError",
    "exit_with",
    "exiting_on_operator_errors",
]


class OperatorError(Exception):
    """An error that an operator has to fix.

    The text is one line: the problem, the setting or access right concerned, and the remedy.  A
    worker or a command prints it after ``butler-writer:`` and exits without a traceback.
    """


class LoginRefusedError(OperatorError):
    """A login is refused: a password is wrong or was changed, or a certificate has expired."""


class UnavailableError(OperatorError):
    """Something that the worker depends on is away, and may come back without an operator.

    A starting worker waits for it; a command ends.

    Attributes
    ----------
    dependency : `str`
        What is away, such as ``the database``.
    """

    def __init__(self, reason: str, dependency: str) -> None:
        super().__init__(reason)
        self.dependency = dependency


@contextmanager
def exiting_on_operator_errors(exit_code: int = 1) -> Iterator[None]:
    """Report an `OperatorError` in one line on standard error, and exit.

    Raises
    ------
    SystemExit
        With ``exit_code``, if the block raises an `OperatorError`.
    """
    try:
        yield
    except OperatorError as exc:
        exit_with(str(exc), exit_code)


def exit_with(reason: str, exit_code: int) -> NoReturn:
    """Print an error in one line on standard error, and exit.

    Raises
    ------
    SystemExit
        Always.
    """
    print(f"butler-writer: {printable(reason)}", file=sys.stderr)  # noqa: T201
    raise SystemExit(exit_code)
