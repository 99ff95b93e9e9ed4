"""``faust -A app dead-letters``: lists, shows and replays events that were set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import click
import orjson
from faust.cli import argument, option

from app import app
from app.butler.repository.connection import RepositoryError
from app.commands.operator_command import CommandError, operator_command, read_only_butler
from app.commands.output import Output
from app.kafka.readers import MessageId
from app.operations.dead_letters import DeadLetters, StoredLetter
from app.operations.presence import Presence
from app.printable import printable
from models.causes import Cause

__all__ = ["dead_letters"]

#: Longest reason in a list, in characters.
_LONGEST_REASON = 100

#: Why `replay --all` leaves a letter out.
_HARMFUL = (
    "whose event has ended a worker or was skipped; name the letters, or give their --error-class"
)


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

    An event that has ended a worker, or was skipped, is never decoded here: its letters stay in the
    list, and replay --all leaves it out unless --error-class names its cause.
    """
    with operator_command(command) as output:
        _check(action, letters, error_class, everything=everything)
        ids = [_letter_id(name) for name in dict.fromkeys(letters)]
        async with DeadLetters(
            app.connection, app.settings.kafka, app.settings.limits
        ) as stored_letters:
            selected = _select(stored_letters, ids, error_class, only_latest=action == "replay")
            if action == "list":
                listing = _Listing(output, everything=everything or bool(ids))
                await listing.show(stored_letters.with_presence(selected, _presence))
            elif action == "show":
                await _show(output, stored_letters, selected)
            else:
                cause = Cause.named(error_class or "")
                await _replay(
                    output,
                    stored_letters,
                    selected,
                    everything=everything,
                    harmful_too=cause is not None and cause.is_harmful,
                )


def _check(
    action: str, letters: tuple[str, ...], error_class: str | None, *, everything: bool
) -> None:
    """Refuse options that do not apply to an action, or not together.

    Raises
    ------
    CommandError
        If there are any.
    """
    if action == "show" and everything:
        raise CommandError("show takes the names of letters; --all is an option of list and replay")
    if action == "show" and not letters:
        raise CommandError("name the letters to show")
    if action == "replay" and bool(letters) == everything:
        raise CommandError("name the letters to replay, or give --all")
    if letters and error_class is not None:
        raise CommandError("name letters or give --error-class, not both")


async def _show(
    output: Output, letters: DeadLetters, selected: AsyncIterator[StoredLetter]
) -> None:
    rows = []
    async for stored in selected:
        event = (await letters.event(stored) or b"").decode(errors="replace")
        rows.append({"name": str(stored.id), **stored.letter.asdict(), "event": event})
        output.text(orjson.dumps(stored.letter.asdict(), option=orjson.OPT_INDENT_2).decode())
        output.text(event)
    output.document(rows)


def _letter_id(name: str) -> MessageId:
    if (found := MessageId.named(name)) is None:
        raise CommandError(f"not the name of a letter (PARTITION-OFFSET): {name}")
    return found


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
            raise CommandError(f"no such letters: {', '.join(unknown)}")
        for named in filter(None, found):
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
        raise CommandError(
            f"no letter has the error class {error_class!r}; the causes are {', '.join(Cause)}"
        )


class _Listing:
    """The list of the selected letters.

    Parameters
    ----------
    output : `Output`
        Prints the list.
    everything : `bool`
        Whether to list letters whose event was written since.
    """

    def __init__(self, output: Output, *, everything: bool) -> None:
        self._output = output
        self._everything = everything
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
            if self._output.is_json:
                rows.append({"name": str(stored.id), **letter.asdict(), "written": is_written})
            self._output.line(_line(stored, is_written=is_written))
        self._output.document(rows)
        self._summarize()

    def _summarize(self) -> None:
        summary = ", ".join(f"{name} {count}" for name, count in self._counts.most_common())
        total = self._counts.total()
        self._output.line(f"{total} dead letters" + (f": {summary}" if summary else ""))
        if self._left_out:
            self._output.line(f"{self._left_out} more were written since; --all lists them too")


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


def _presence() -> Presence | None:
    """Open the repository; without it, the letters are shown, but not what was written since."""
    try:
        return Presence(read_only_butler())
    except RepositoryError as exc:
        reason = printable(f"cannot tell which events were written since: {exc}")
        click.echo(f"butler-writer: {reason}", err=True)
        return None


async def _replay(
    output: Output,
    letters: DeadLetters,
    selected: AsyncIterator[StoredLetter],
    *,
    everything: bool,
    harmful_too: bool,
) -> None:
    replayed: list[str] = []
    problems: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    harmful = 0

    async def useful() -> AsyncIterator[StoredLetter]:
        async for stored, is_written in letters.with_presence(selected, _presence):
            if await letters.is_harmful(stored):
                if harmful_too:
                    yield stored
                else:
                    skipped[_HARMFUL] += 1
                continue
            event = await letters.given_event(stored)
            if is_written:
                skipped["whose event was written since"] += 1
            elif event.excess:
                skipped["whose event is over the limits; raise them, or name the letters"] += 1
            elif event.datasets is None:
                skipped["that hold no event"] += 1
            else:
                yield stored

    async for stored, problem in letters.replay(useful() if everything else selected):
        if problem is None:
            replayed.append(str(stored.id))
            harmful += stored.is_harmful
        else:
            problems[str(stored.id)] = problem
            output.problem(f"{stored.id}  {problem}")
    output.line(f"replayed {len(replayed)} events")
    if harmful:
        output.line(
            f"{harmful} of them had ended a worker or were skipped: they were sent again without "
            "being decoded, and may end the worker that reads them"
        )
    for reason, count in skipped.items():
        output.line(f"skipped {count} letters {reason}")
    output.document({"replayed": replayed, "skipped": skipped, "problems": problems})
    if problems:
        raise SystemExit(2)
