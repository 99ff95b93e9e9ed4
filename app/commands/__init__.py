"""Commands for operators: ``faust -A app <command>``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from logging.config import dictConfig
from types import MappingProxyType
from typing import Any, BinaryIO, NoReturn

import click
import orjson
from aiokafka.errors import KafkaError
from botocore.exceptions import BotoCoreError, ClientError
from faust.cli import argument, option
from sqlalchemy.exc import DBAPIError

from app import app
from app.butler.failures import RetryableError, describe
from app.butler.repository.connection import open_butler
from app.errors import OperatorError
from app.operations.audit import Audited, AuditRange, Finding, audit_events
from app.operations.dead_letters import (
    Place,
    StoredLetter,
    find_letters,
    latest_letters,
    original,
    read_letters,
    replay,
)
from app.operations.leftovers import Leftover, Leftovers

__all__ = ["audit", "dead_letters", "leftovers"]

#: Longest reason in a list, in characters.
_REASON = 100

#: Events between two signs of progress.
_PROGRESS = 1000

_OFFSET = click.IntRange(min=0, max=2**63 - 2)
_REPORT = click.File("wb", lazy=False)


@app.command(
    argument("action", type=click.Choice(["list", "show", "replay"])),
    argument("letters", nargs=-1),
    option("--error-class", help="Only letters of this class of error."),
    option("--all", "everything", is_flag=True, help="Replay the last letter of every event."),
)
async def dead_letters(
    _self: Any, action: str, letters: tuple[str, ...], error_class: str | None, *, everything: bool
) -> None:
    """List, show or replay the events that could not be written.

    Letters are named PARTITION-OFFSET, as the list does.  A replayed event goes to the input topic
    again; what of it is in the Butler already is not written twice.
    """
    if action == "show" and not letters:
        _refuse("name the letters to show")
    if action == "replay" and bool(letters) == everything:
        _refuse("name the letters to replay, or give --all")
    places = [_place(name) for name in letters]
    with _operator_command():
        app.settings.require_connections()
        chosen = _chosen(places, error_class, latest=action == "replay")
        if action == "list":
            await _list(chosen)
        elif action == "show":
            async for stored in chosen:
                await _show(stored)
        else:
            await _replay(chosen)


def _place(name: str) -> Place:
    if not (found := re.fullmatch(r"(\d{1,9})-(\d{1,18})", name)):
        _refuse(f"not a letter's name (PARTITION-OFFSET): {name}")
    return int(found[1]), int(found[2])


async def _chosen(
    places: list[Place], error_class: str | None, *, latest: bool
) -> AsyncIterator[StoredLetter]:
    """Yield the letters that are meant: one after another, since there may be very many."""
    if places:
        found = await find_letters(app, places)
        if unknown := [f"{p}-{o}" for (p, o), s in zip(places, found, strict=True) if s is None]:
            _refuse(f"no such letters: {', '.join(unknown)}")
        for stored in found:
            if stored is not None and error_class in (None, stored.letter.error_class):
                yield stored
        return
    wanted = await latest_letters(app) if latest else None
    async for stored in read_letters(app):
        if error_class in (None, stored.letter.error_class) and (
            wanted is None or (stored.partition, stored.offset) in wanted
        ):
            yield stored


@app.command(
    option("--since", type=click.DateTime(), help="From the first event sent at this time, UTC."),
    option("--until", type=click.DateTime(), help="Up to the events sent at this time, UTC."),
    option("--first", type=_OFFSET, help="From this offset on, on every partition."),
    option("--last", type=_OFFSET, help="Up to this offset, on every partition."),
    option(
        "--json",
        "report",
        type=click.File("wb", lazy=False),
        help="Where to write all that was found.",
    ),
)
async def audit(
    _self: Any,
    since: datetime | None,
    until: datetime | None,
    first: int | None,
    last: int | None,
    report: BinaryIO | None,
) -> None:
    """Tell of each event of the input topic what became of it.

    Written, expired (written, but artifacts were removed since), in the dead letters, pending, or
    missing.  The exit code is 1 if any is missing, and 2 if nobody can tell.  Nothing is changed.
    """
    wanted = AuditRange(_utc(since), _utc(until), first, last)
    findings: Counter[Finding] = Counter()
    events = []
    with _operator_command():
        app.settings.require_connections()
        write = app.settings.write
        butler = open_butler(write.repository or "", write.policy, writeable=False)
        async for audited, of in audit_events(app, butler, wanted):
            findings[audited.finding] += 1
            if report is not None:
                events.append(asdict(audited))
            if audited.finding in (Finding.MISSING, Finding.EXPIRED, Finding.DEAD_LETTER):
                click.echo(_line(audited))
            if findings.total() % _PROGRESS == 0:
                click.echo(f"{findings.total()} of {of} events", err=True)
    summary = {finding.value: findings[finding] for finding in Finding}
    if report is not None:
        report.write(orjson.dumps({"summary": summary, "events": events}))
    click.echo("audit: " + " ".join(f"{name}={count}" for name, count in summary.items()))
    if findings[Finding.MISSING]:
        raise SystemExit(1)


class _Age(click.ParamType):
    """A number and its unit: ``90m``, ``12h``, ``1d``."""

    name = "age"
    _UNITS = MappingProxyType({"m": "minutes", "h": "hours", "d": "days"})

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        if not (match := re.fullmatch(r"(\d{1,6})([mhd])", value)):
            self.fail(f"{value!r} is not an age such as 90m, 12h or 1d", param, ctx)
        return timedelta(**{self._UNITS[match[2]]: int(match[1])})


@app.command(
    option(
        "--older-than",
        type=_Age(),
        required=True,
        help="Only files that old: 12h, 1d; 1h at least.",
    ),
    option(
        "--folder",
        "folders",
        multiple=True,
        help="Look in this folder of the datastore too, such as a chain's, for files that it does "
        "not know.  Files that something else than a Butler keeps there are found as well.",
    ),
    option("--delete", is_flag=True, help="Remove what is found; without it, nothing is changed."),
)
async def leftovers(
    _self: Any, older_than: timedelta, folders: tuple[str, ...], *, delete: bool
) -> None:
    """Find files that pods have left behind, and remove them if told so.

    In the staging roots, those that no event names; in the given folders of the datastore, those
    that neither its records nor an event names.  The events that count are those yet to be
    processed, however far behind the workers are, and the dead letters, which may be replayed.
    So the age need only be longer than a pod takes from its first file to the sending of its event,
    retries included; a day is safe.  Run it with the environment of the workers.
    """
    with _operator_command():
        app.settings.require_connections()
        write = app.settings.write
        butler = open_butler(write.repository or "", write.policy, writeable=False)
        search = Leftovers(app, butler, older_than, folders)
        found = await search.find()
    for leftover in found:
        click.echo(f"{leftover.kind:<6}  {leftover.modified:%Y-%m-%dT%H:%M:%S}  {leftover.uri}")
    failed = search.remove(found) if delete else []
    for line in failed:
        click.echo(f"not removed: {line}", err=True)
    click.echo(_summary(found, removed=len(found) - len(failed) if delete else 0))
    if failed:
        raise SystemExit(1)


def _summary(found: list[Leftover], *, removed: int) -> str:
    kinds = Counter(leftover.kind for leftover in found)
    size = sum(leftover.size for leftover in found)
    return (
        f"leftovers: staged={kinds['staged']} final={kinds['final']} bytes={size} removed={removed}"
    )


@contextmanager
def _operator_command() -> Iterator[None]:
    """Set up the log; turn what keeps a command from its work into one line, and exit code 2."""
    dictConfig(dict(app.conf.logging_config or {}))  # Faust leaves commands without
    try:
        yield
    except (
        OperatorError,
        RetryableError,
        KafkaError,
    ) as exc:
        reason = str(exc) or repr(exc)
    except (DBAPIError, BotoCoreError, ClientError, OSError) as exc:
        reason = f"{type(exc).__name__}: {describe(exc)}"
    else:
        return
    _refuse(reason)


def _refuse(reason: str) -> NoReturn:
    click.echo(f"butler-writer: {reason}", err=True)
    raise SystemExit(2)


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time else None


def _line(audited: Audited) -> str:
    missing = len(audited.missing)
    what = audited.reason or (f"{missing} of {audited.datasets} datasets" if missing else "")
    event = f"{app.settings.kafka.topic}-{audited.partition}@{audited.offset}"
    return "  ".join(part for part in (f"{audited.finding:<11}", event, what) if part)


async def _list(letters: AsyncIterator[StoredLetter]) -> None:
    counts: Counter[str] = Counter()
    async for stored in letters:
        letter = stored.letter
        counts[letter.error_class] += 1
        columns = [
            f"{stored.name:>8}",
            letter.time[:19],
            f"{letter.error_class:<26}",
            f"{letter.topic}-{letter.partition}@{letter.offset}",
            f"(replayed {letter.replays} times)" if letter.replays else "",
            letter.reason if len(letter.reason) <= _REASON else letter.reason[:_REASON] + "...",
        ]
        click.echo("  ".join(column for column in columns if column))
    summary = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    click.echo(f"{counts.total()} dead letters" + (f": {summary}" if summary else ""))


async def _show(stored: StoredLetter) -> None:
    click.echo(orjson.dumps(stored.letter.asdict(), option=orjson.OPT_INDENT_2).decode())
    click.echo((await original(app, stored) or b"").decode(errors="replace"))


async def _replay(letters: AsyncIterator[StoredLetter]) -> None:
    problems = replayed = 0
    async for stored, problem in replay(app, letters):
        if problem is None:
            replayed += 1
        else:
            problems += 1
            click.echo(f"{stored.name}  {problem}", err=True)
    click.echo(f"replayed {replayed} events")
    if problems:
        raise SystemExit(2)
