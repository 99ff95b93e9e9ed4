"""``faust -A app dead-letters``: lists, shows and replays events that were set aside."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import click
import orjson
from faust.cli import argument, option
from lsst.daf.butler import Butler

from app import app
from app.butler.repository.connection import RepositoryError
from app.commands.operator_command import operator_command, read_only_butler, refuse
from app.kafka.readers import MessageId
from app.operations.dead_letters import DeadLetters, StoredLetter
from models.causes import Cause

__all__ = ["dead_letters"]

#: Longest reason in a list, in characters.
_LONGEST_REASON = 100


@app.command(
    argument("action", type=click.Choice(["list", "show", "replay"])),
    argument("letters", nargs=-1),
    option(
        "--error-class",
        help="Only letters of this cause, such as missing_file; former names such as "
        "FileNotFoundError are accepted.",
    ),
    option(
        "--all",
        "everything",
        is_flag=True,
        help="List letters too whose event was written since.  Replay the last letter of every "
        "event, unless it was written since or is no event at all.",
    ),
)
async def dead_letters(
    command: Any,
    action: str,
    letters: tuple[str, ...],
    error_class: str | None,
    *,
    everything: bool,
) -> None:
    """List, show or replay the events that could not be written.

    Letters are named PARTITION-OFFSET, as in the list.  The list leaves out letters whose event was
    replayed and written.  A replayed event is sent to the input topic again; datasets that the
    Butler already has are not written twice.
    """
    if action == "show" and not letters:
        refuse("name the letters to show")
    if action == "replay" and bool(letters) == everything:
        refuse("name the letters to replay, or give --all")
    ids = [_letter_id(name) for name in letters]
    with operator_command():
        async with DeadLetters(app.connection, app.settings.kafka) as stored_letters:
            selected = _select(stored_letters, ids, error_class, only_latest=action == "replay")
            if action == "list":
                listing = _Listing(everything=everything, as_json=command.json)
                await listing.show(stored_letters.with_presence(selected, _butler))
            elif action == "show":
                await _show(stored_letters, selected)
            else:
                await _replay(stored_letters, selected, everything=everything)


async def _show(letters: DeadLetters, selected: AsyncIterator[StoredLetter]) -> None:
    async for stored in selected:
        click.echo(orjson.dumps(stored.letter.asdict(), option=orjson.OPT_INDENT_2).decode())
        click.echo((await letters.event(stored) or b"").decode(errors="replace"))


def _letter_id(name: str) -> MessageId:
    if not (found := re.fullmatch(r"(\d{1,9})-(\d{1,18})", name)):
        refuse(f"not the name of a letter (PARTITION-OFFSET): {name}")
    return MessageId(int(found[1]), int(found[2]))


async def _select(
    letters: DeadLetters, ids: list[MessageId], error_class: str | None, *, only_latest: bool
) -> AsyncIterator[StoredLetter]:
    """Yield the selected letters one by one, because there may be very many.

    Parameters
    ----------
    letters : `DeadLetters`
        All letters.
    ids : `list` [`MessageId`]
        The letters that are named; if empty, all are considered.
    error_class : `str` or `None`
        The cause that they must have, if any.
    only_latest : `bool`
        Whether to skip letters whose event has a later one, unless letters are named.
    """
    if ids:
        found = await letters.find(ids)
        if unknown := [str(i) for i, stored in zip(ids, found, strict=True) if stored is None]:
            refuse(f"no such letters: {', '.join(unknown)}")
        for named in found:
            if named is not None and (error_class is None or named.has_error_class(error_class)):
                yield named
        return
    latest = await letters.latest() if only_latest else None
    is_known = error_class is None or Cause.named(error_class) is not None
    async for stored in letters.read():
        if error_class is None or stored.has_error_class(error_class):
            is_known = True
            if latest is None or stored.id in latest:
                yield stored
    if not is_known:
        refuse(f"no letter has the error class {error_class!r}; the causes are {', '.join(Cause)}")


class _Listing:
    """The list of the selected letters.

    Parameters
    ----------
    everything : `bool`
        Whether to list letters whose event was written since.
    as_json : `bool`
        Whether to print a JSON array instead of lines.
    """

    def __init__(self, *, everything: bool, as_json: bool) -> None:
        self._everything = everything
        self._as_json = as_json
        self._counts: Counter[str] = Counter()
        self._left_out = 0

    async def show(self, letters: AsyncIterator[tuple[StoredLetter, bool]]) -> None:
        """Print the letters, and a summary."""
        rows = []
        async for stored, is_written in letters:
            if is_written and not self._everything:
                self._left_out += 1
                continue
            letter = stored.letter
            self._counts[letter.error_class] += 1
            if self._as_json:
                rows.append({"name": str(stored.id), **letter.asdict(), "written": is_written})
            else:
                click.echo(_line(stored, is_written=is_written))
        if self._as_json:
            click.echo(orjson.dumps(rows))
        else:
            self._summarize()

    def _summarize(self) -> None:
        summary = ", ".join(f"{name} {count}" for name, count in self._counts.most_common())
        click.echo(f"{self._counts.total()} dead letters" + (f": {summary}" if summary else ""))
        if self._left_out:
            click.echo(f"{self._left_out} more were written since; --all lists them too")


def _line(stored: StoredLetter, *, is_written: bool) -> str:
    letter, reason = stored.letter, stored.letter.reason
    columns = [
        f"{stored.id!s:>8}",
        letter.time[:19],
        f"{letter.error_class:<26}",
        f"{letter.topic}-{letter.partition}@{letter.offset}",
        "(written since)" if is_written else "",
        f"(replayed {letter.replays} times)" if letter.replays else "",
        reason if len(reason) <= _LONGEST_REASON else reason[:_LONGEST_REASON] + "...",
    ]
    return "  ".join(column for column in columns if column)


def _butler() -> Butler | None:
    """Open the repository; without it, the letters are shown, but not what was written since."""
    try:
        return read_only_butler()
    except RepositoryError as exc:
        click.echo(f"butler-writer: cannot tell which events were written since: {exc}", err=True)
        return None


async def _replay(
    letters: DeadLetters, selected: AsyncIterator[StoredLetter], *, everything: bool
) -> None:
    problems = replayed = 0
    skipped: Counter[str] = Counter()

    async def useful() -> AsyncIterator[StoredLetter]:
        async for stored, is_written in letters.with_presence(selected, _butler):
            if is_written:
                skipped["whose event was written since"] += 1
            elif await letters.holds_event(stored):
                yield stored
            else:
                skipped["that hold no event"] += 1

    async for stored, problem in letters.replay(useful() if everything else selected):
        if problem is None:
            replayed += 1
        else:
            problems += 1
            click.echo(f"{stored.id}  {problem}", err=True)
    click.echo(f"replayed {replayed} events")
    for reason, count in skipped.items():
        click.echo(f"skipped {count} letters {reason}")
    if problems:
        raise SystemExit(2)
