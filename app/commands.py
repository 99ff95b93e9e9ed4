"""Commands for operators: ``faust -A app <command>``."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, BinaryIO

import click
import orjson
from aiokafka.errors import KafkaError
from faust.cli import argument, option
from lsst.daf.butler import Butler

from app import app
from app.audit import Audited, AuditRange, Finding, audit_events
from app.dead_letters import LostEventError, StoredLetter, original, read_letters, replay
from app.leftovers import Leftover, LeftoverError, Leftovers
from app.settings import SettingsError

__all__ = ["audit", "dead_letters", "leftovers"]

#: Longest reason in a list, in characters.
_REASON = 100

#: Events between two signs of progress.
_PROGRESS = 5000


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


@app.command(
    option("--since", type=click.DateTime(), help="From the first event sent at this time, UTC."),
    option("--until", type=click.DateTime(), help="Up to the events sent at this time, UTC."),
    option("--first", type=int, help="From this offset on, on every partition."),
    option("--last", type=int, help="Up to this offset, on every partition."),
    option("--json", "report", type=click.File("wb"), help="Where to write all that was found."),
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
    missing; the exit code is 1 if any is missing.  Nothing is changed.
    """
    wanted = AuditRange(_utc(since), _utc(until), first, last)
    try:
        app.settings.require_connections()
        butler = Butler.from_config(app.settings.write.repository, writeable=False)
        findings: Counter[Finding] = Counter()
        events = []
        async for audited in audit_events(app, butler, wanted):
            findings[audited.finding] += 1
            if report is not None:
                events.append(asdict(audited))
            if audited.finding in (Finding.MISSING, Finding.EXPIRED, Finding.DEAD_LETTER):
                click.echo(_line(audited))
            if findings.total() % _PROGRESS == 0:
                click.echo(f"{findings.total()} events looked at", err=True)
    except (SettingsError, KafkaError) as exc:
        raise SystemExit(f"{type(exc).__name__}: {exc}") from exc
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
    try:
        app.settings.require_connections()
        butler = Butler.from_config(app.settings.write.repository, writeable=False)
        search = Leftovers(app, butler, older_than, folders)
        found = await search.find()
    except (SettingsError, LeftoverError, KafkaError, OSError) as exc:
        raise SystemExit(f"{type(exc).__name__}: {exc}") from exc
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


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time else None


def _line(audited: Audited) -> str:
    missing = len(audited.missing)
    what = audited.reason or (f"{missing} of {audited.datasets} datasets" if missing else "")
    event = f"{app.settings.kafka.topic}-{audited.partition}@{audited.offset}"
    return "  ".join(part for part in (f"{audited.finding:<11}", event, what) if part)


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
