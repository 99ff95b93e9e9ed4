"""What a command prints: lines for people, or with ``faust --json`` one JSON document."""

from __future__ import annotations

import json
from typing import Any

import click

__all__ = ["Output"]


class Output:
    """The standard output of a command, and its progress on standard error.

    Parameters
    ----------
    command : `faust.cli.base.Command`
        Has Faust's global options: with ``--json`` no lines are printed, and one document instead;
        with ``--quiet`` neither.

    Attributes
    ----------
    is_json : `bool`
        Whether a document is expected.
    """

    def __init__(self, command: Any) -> None:
        self.is_json = bool(command.json)
        self._is_quiet = bool(command.quiet)

    def line(self, text: str) -> None:
        """Print a line, unless a document is expected."""
        if not self.is_json and not self._is_quiet:
            click.echo(_encodable(text))

    def progress(self, text: str) -> None:
        """Print a line on standard error."""
        if not self._is_quiet:
            click.echo(_encodable(text), err=True)

    def problem(self, text: str) -> None:
        """Print a line on standard error in any case."""
        click.echo(_encodable(text), err=True)

    def document(self, document: Any) -> None:
        """Print the document, if one is expected."""
        if self.is_json and not self._is_quiet:
            click.echo(json.dumps(document, default=str))


def _encodable(text: str) -> str:
    """Return text that can be printed: a file's name may have any bytes."""
    return text.encode(errors="backslashreplace").decode()
