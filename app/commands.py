"""Commands for operators: ``faust -A app <command>``."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import click
import orjson
from aiokafka.errors import KafkaError
from faust.cli import argument, option

from app import app
from app.dead_letters import LostEventError, StoredLetter, original, read_letters, replay
from app.settings import SettingsError

__all__ = ["dead_letters"]

#: Longest reason in a list, in characters.
_REASON = 100


@app.command(
    argument("action", type=click.Choice(["list", "show", "replay"])),
    argument("letters", nargs=-1),
    option("--error-class", help="Only letters of this class of error."),
    option("--all", "everything", is_flag=True, help="Replay every letter that is listed."),
)
async def dead_letters(
    _self: Any, action: str, letters: tuple[str, ...], error_class: str | None, *, everything: bool
) -> None:
    """List, show or replay the events that could not be written.

    Letters are named PARTITION-OFFSET, as the list does.  A replayed event goes to the input topic
    again; what of it is in the Butler already is not written twice.
    """
    if action == "replay" and not letters and not everything:
        raise SystemExit("name the letters to replay, or give --all")
    if unclear := [name for name in letters if not re.fullmatch(r"\d+-\d+", name)]:
        raise SystemExit(f"not a letter's name (PARTITION-OFFSET): {', '.join(unclear)}")
    try:
        app.settings.require_connections()
        chosen = [
            stored
            async for stored in read_letters(app)
            if (not letters or stored.name in letters)
            and error_class in (None, stored.letter.error_class)
        ]
        if unknown := sorted(set(letters) - {stored.name for stored in chosen}):
            raise SystemExit(f"no such letters: {', '.join(unknown)}")
        if action == "list":
            _list(chosen)
        elif action == "show":
            for stored in chosen:
                await _show(stored)
        else:
            click.echo(f"replayed {await replay(app, chosen)} events")
    except (SettingsError, KafkaError, LostEventError) as exc:
        raise SystemExit(f"{type(exc).__name__}: {exc}") from exc


def _list(letters: list[StoredLetter]) -> None:
    for stored in letters:
        letter = stored.letter
        columns = [
            f"{stored.name:>8}",
            letter.time[:19],
            f"{letter.error_class:<26}",
            f"{letter.topic}-{letter.partition}@{letter.offset}",
            f"(replayed {letter.replays} times)" if letter.replays else "",
            letter.reason if len(letter.reason) <= _REASON else letter.reason[:_REASON] + "...",
        ]
        click.echo("  ".join(column for column in columns if column))
    counts = Counter(stored.letter.error_class for stored in letters)
    summary = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    click.echo(f"{len(letters)} dead letters" + (f": {summary}" if summary else ""))


async def _show(stored: StoredLetter) -> None:
    click.echo(orjson.dumps(stored.letter.asdict(), option=orjson.OPT_INDENT_2).decode())
    click.echo((await original(app, stored) or b"").decode(errors="replace"))
