"""``faust -A app audit``: reports what became of each event."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import click
import orjson
from faust.cli import option

from app import app
from app.commands.age import Age
from app.commands.operator_command import operator_command, read_only_butler, require_events
from app.operations.audit import Audited, Finding, audit_events
from app.operations.audit_range import AuditRange
from app.operations.presence import Presence

__all__ = ["audit"]

_OFFSET = click.IntRange(min=0, max=2**63 - 2)

#: No event was sent before this time.
_NOTHING = datetime.fromtimestamp(0, UTC)

#: Findings of which each event is listed.
_LISTED = (Finding.MISSING, Finding.EXPIRED, Finding.DEAD_LETTER)


@app.command(
    option(
        "--since",
        type=click.DateTime(),
        help="Start at the first event sent at or after this time, UTC.",
    ),
    option(
        "--until",
        type=click.DateTime(),
        help="Stop before the first event sent at or after this time, UTC.",
    ),
    option("--first", type=_OFFSET, help="From this offset on, on every partition."),
    option("--last", type=_OFFSET, help="Up to this offset, on every partition."),
    option(
        "--published-after",
        type=Age(),
        help="Datasets are published, and removed from the repository, at this age, such as 80h: "
        "events that were sent before that and lack datasets or artifacts are expired, not "
        "missing.",
    ),
    option(
        "--json",
        "report",
        type=click.File("wb", lazy=False),
        help="File for a report on every event; faust --json prints it.",
    ),
)
async def audit(
    command: Any,
    *,
    since: datetime | None,
    until: datetime | None,
    first: int | None,
    last: int | None,
    published_after: timedelta | None,
    report: BinaryIO | None,
) -> None:
    """Report what became of each event of the input topic.

    Each event is written, expired (published and removed, with --published-after), in the dead
    letters, pending, or missing.  The exit code is 1 if any event is missing, and 2 if the audit
    could not be completed, or no event is in the range.  Nothing is changed.
    """
    findings: Counter[Finding] = Counter()
    events = []
    # Without an age, nothing has been published.
    before = _NOTHING if published_after is None else datetime.now(UTC) - published_after
    with operator_command(command) as output, output.progress("events") as show_progress:
        require_events()
        audit_range = AuditRange(_utc(since), _utc(until), first, last)
        presence = Presence(read_only_butler())
        async for audited, total in audit_events(
            app.connection,
            app.settings.kafka,
            presence,
            audit_range,
            published_before=before,
            limits=app.settings.limits,
        ):
            findings[audited.finding] += 1
            if report is not None or output.is_json:
                events.append(asdict(audited))
            if audited.finding in _LISTED:
                output.line(_line(audited))
            show_progress(findings.total(), total)
        summary = {finding.value: findings[finding] for finding in Finding}
        document = {"summary": summary, "events": events}
        if report is not None:
            report.write(orjson.dumps(document))
        output.line("audit: " + " ".join(f"{name}={count}" for name, count in summary.items()))
        output.document(document)
    if findings[Finding.MISSING]:
        raise SystemExit(1)


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time else None


def _line(audited: Audited) -> str:
    missing = len(audited.missing)
    reason = audited.reason or (f"{missing} of {audited.datasets} datasets" if missing else "")
    event = f"{app.settings.kafka.topic}-{audited.partition}@{audited.offset}"
    letter = f"letter {audited.letter}" if audited.letter else ""
    return "  ".join(part for part in (f"{audited.finding:<11}", event, letter, reason) if part)
