"""``faust -A app rewind``: sets a stopped group back, so that events are written again."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import click
from faust.cli import option

from app import app
from app.commands.operator_command import (
    CommandError,
    operator_command,
    read_only_butler,
    require_events,
)
from app.commands.output import Output
from app.kafka.group.offsets import set_committed
from app.operations.audit import Finding, audit_events
from app.operations.audit_range import OffsetRanges
from app.operations.offsets.rewinding import Rewind, check_stopped, plan_rewind
from app.operations.presence import Presence

__all__ = ["rewind"]


@app.command(
    option(
        "--to",
        type=click.DateTime(),
        help="Set each partition back to its first event sent at or after this time, UTC.",
    ),
    option(
        "--offset",
        type=click.IntRange(min=0, max=2**63 - 2),
        help="Set each partition back to this offset.",
    ),
    option("--dry-run", is_flag=True, help="Only say what would be set back."),
)
async def rewind(command: Any, *, to: datetime | None, offset: int | None, dry_run: bool) -> None:
    """Set the committed offsets back, so that workers write these events again.

    For a database that was restored from a backup.  All workers must be stopped.  Datasets that the
    Butler has are not written twice, but all events are announced again.  No partition is set
    forward.
    """
    with operator_command(command) as output:
        require_events()
        if (to is None) == (offset is None):
            raise CommandError("give either --to or --offset")
        if not dry_run:
            await check_stopped(app.connection)
        kafka = app.settings.kafka
        since = None if to is None else to.replace(tzinfo=UTC)
        found = await plan_rewind(app.connection, kafka, to=since, offset=offset)
        counts = await _audited(output, found)
        _show(output, found, counts)
        if not dry_run:
            targets = {partition: start for partition, (start, _) in found.ranges.items()}
            await set_committed(app.connection, kafka.topic, targets)
        output.line(
            "nothing was changed (--dry-run)"
            if dry_run
            else f"the group {app.connection.group} was set back; start the workers"
        )
        output.document(_document(found, counts, is_done=not dry_run))


async def _audited(output: Output, found: Rewind) -> Counter[Finding]:
    counts: Counter[Finding] = Counter()
    presence = Presence(read_only_butler())
    ranges = OffsetRanges(found.ranges)
    with output.progress("events") as show_progress:
        async for audited, total in audit_events(
            app.connection, app.settings.kafka, presence, ranges, limits=app.settings.limits
        ):
            counts[audited.finding] += 1
            show_progress(counts.total(), total)
    return counts


def _show(output: Output, found: Rewind, counts: Counter[Finding]) -> None:
    topic = app.settings.kafka.topic
    output.table(
        ("partition", "committed", "set back to", "offsets"),
        [
            (f"{topic}-{partition}", now, start, now - start)
            for partition, (start, now) in found.ranges.items()
        ],
    )
    for partition, number in found.lost.items():
        output.line(f"{topic}-{partition}: retention has removed {number} of the offsets before it")
    output.line(
        f"rewind: events={counts.total()} missing={counts[Finding.MISSING]} "
        f"expired={counts[Finding.EXPIRED]} dead-letter={counts[Finding.DEAD_LETTER]} "
        f"written={counts[Finding.WRITTEN]}"
    )
    output.line(
        "Workers announce all of them again, and the statistics of the chains count them again: "
        "run faust -A app chains resync afterwards."
    )


def _document(found: Rewind, counts: Counter[Finding], *, is_done: bool) -> dict[str, Any]:
    return {
        "done": is_done,
        "partitions": [
            {
                "partition": partition,
                "committed": now,
                "offset": start,
                "lost": found.lost.get(partition, 0),
            }
            for partition, (start, now) in found.ranges.items()
        ],
        "events": counts.total(),
        "findings": {finding.value: counts[finding] for finding in Finding},
    }
