"""What a command prints: for people, or with ``faust --json`` one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from app.printable import printable, without_logins

__all__ = ["Output", "utc"]

#: Steps between two lines of progress, if standard error is no terminal.
_PROGRESS = 1000


def utc(seconds: float | None) -> str:
    """Return a time since the Unix epoch as people read it; nothing for 0 and `None`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}" if seconds else ""


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
            click.echo(printable(text))

    def text(self, text: str) -> None:
        """Print text of several lines, unless a document is expected."""
        if not self.is_json and not self._is_quiet:
            click.echo(printable(text, keep="\n\t"))

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table, unless a document is expected: plain columns if output is no terminal."""
        if self.is_json or self._is_quiet:
            return
        texts = [[printable("" if cell is None else str(cell)) for cell in row] for row in rows]
        if sys.stdout.isatty():
            _print_table(headers, texts)
            return
        lines = [list(headers), *texts]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            click.echo("  ".join(cells).rstrip())

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Show progress on standard error: a bar on a terminal, otherwise a line now and then.

        Parameters
        ----------
        what : `str`
            What is counted, such as ``events``.

        Yields
        ------
        show : `~collections.abc.Callable`
            Takes how many are done, and how many there are.
        """
        if self._is_quiet or not sys.stderr.isatty():
            yield self._progress_lines(what)
            return
        with _progress_bar(what) as show:
            yield show

    def _progress_lines(self, what: str) -> Callable[[int, int], None]:
        def show(done: int, total: int) -> None:
            if done % _PROGRESS == 0 and not self._is_quiet:
                click.echo(f"{done} of {total} {what}", err=True)

        return show

    def problem(self, text: str) -> None:
        """Print a line on standard error in any case."""
        click.echo(printable(text), err=True)

    def document(self, document: Any) -> None:
        """Print the document, if one is expected."""
        if self.is_json and not self._is_quiet:
            click.echo(without_logins(json.dumps(document, default=str)))


# Workers import the commands too: rich, which takes 3 MB, is imported where it is used.


def _print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*headers)
    for row in rows:
        table.add_row(*map(Text, row))  # a cell is no markup
    Console().print(table)


@contextmanager
def _progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich import progress  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    columns = (
        progress.TextColumn(what),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
