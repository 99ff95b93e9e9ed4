"""``faust -A app dead-letters``: lists, shows and replays events that were set aside."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import click
import orjson
from faust.cli import argument, option

from app import app
from app.commands.operator_command import operator_command, refuse
from app.kafka.readers import MessageId
from app.operations.dead_letters import DeadLetters, StoredLetter

__all__ = ["dead_letters"]

#: Longest reason in a list, in characters.
_LONGEST_REASON = 100


@app.command(
    argument("action", type=click.Choice(["list", "show", "replay"])),
    argument("letters", nargs=-1),
    option(
        "--error-class",
        help="Only letters of this cause, such as missing_file; its former class names, such as "
        "FileNotFoundError, also work.",
    ),
    option("--all", "everything", is_flag=True, help="Replay the last letter of every event."),
)
async def dead_letters(
    _self: Any, action: str, letters: tuple[str, ...], error_class: str | None, *, everything: bool
) -> None:
    """List, show or replay the events that could not be written.

    Letters are named PARTITION-OFFSET, as in the list.  A replayed event is sent to the input topic
    again; datasets that the Butler already has are not written twice.
    """
    if action == "show" and not letters:
        refuse("name the letters to show")
    if action == "replay" and bool(letters) == everything:
        refuse("name the letters to replay, or give --all")
    ids = [_letter_id(name) for name in letters]
    with operator_command():
        stored_letters = DeadLetters(app.connection, app.settings.kafka)
        selected = _select(stored_letters, ids, error_class, only_latest=action == "replay")
        if action == "list":
            await _list(selected)
        elif action == "show":
            async for stored in selected:
                click.echo(
                    orjson.dumps(stored.letter.asdict(), option=orjson.OPT_INDENT_2).decode()
                )
                click.echo((await stored_letters.event(stored) or b"").decode(errors="replace"))
        else:
            await _replay(stored_letters, selected)


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
    async for stored in letters.read():
        if (latest is None or stored.id in latest) and (
            error_class is None or stored.has_error_class(error_class)
        ):
            yield stored


async def _list(letters: AsyncIterator[StoredLetter]) -> None:
    counts: Counter[str] = Counter()
    async for stored in letters:
        letter = stored.letter
        counts[letter.error_class] += 1
        reason = letter.reason
        columns = [
            f"{stored.id!s:>8}",
            letter.time[:19],
            f"{letter.error_class:<26}",
            f"{letter.topic}-{letter.partition}@{letter.offset}",
            f"(replayed {letter.replays} times)" if letter.replays else "",
            reason if len(reason) <= _LONGEST_REASON else reason[:_LONGEST_REASON] + "...",
        ]
        click.echo("  ".join(column for column in columns if column))
    summary = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    click.echo(f"{counts.total()} dead letters" + (f": {summary}" if summary else ""))


async def _replay(letters: DeadLetters, selected: AsyncIterator[StoredLetter]) -> None:
    problems = replayed = 0
    async for stored, problem in letters.replay(selected):
        if problem is None:
            replayed += 1
        else:
            problems += 1
            click.echo(f"{stored.id}  {problem}", err=True)
    click.echo(f"replayed {replayed} events")
    if problems:
        raise SystemExit(2)
