"""``faust -A app diff``: compares a downstream repository with its source."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from faust.cli import argument

from app import app
from app.assembly import replica_of
from app.butler.private.ingest_dates import Period
from app.butler.products.stored_products import StoredProducts
from app.butler.repository.connection import open_butler
from app.commands.downstream.selection import RUN, SINCE, UNTIL, downstream_settings, period_of
from app.commands.operator_command import CommandError, operator_command, read_only_butler
from app.operations.products.comparison import Comparison, Finding, State, check_universes
from app.operations.products.kept import read_kept
from app.operations.products.selected_runs import select_runs
from app.parts import Replica

__all__ = ["diff"]


@app.command(argument("source"), RUN, SINCE, UNTIL)
async def diff(
    command: Any,
    source: str,
    *,
    runs: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
) -> None:
    """Compare BUTLER_REPOSITORY with the repository SOURCE that it is filled from.

    By the rules as they are today (BUTLER_WRITER_RULES): which datasets are missing, which are
    there that the rules would not let in (extra), and which differ.  What is under embargo, held or
    excluded is not missing; nor is what the source no longer has.  The exit code is 1 if there is
    any, and 2 if the repositories cannot be compared.  Nothing is changed.
    """
    listed = []
    with operator_command(command) as output, output.progress("runs") as show_progress:
        kafka = downstream_settings()
        if not runs and since is None and until is None:
            raise CommandError("give --run, --since or --until: what to compare")
        butler = read_only_butler()
        other = open_butler(source, app.settings.write, writeable=False)
        repositories = StoredProducts(other), StoredProducts(butler)
        check_universes(*repositories)
        replica = replica_of(app.settings.downstream, butler)
        kept = await read_kept(app.connection, kafka, app.settings.downstream.rules_id)
        comparison = Comparison(*repositories, replica, _released_until(replica), kept.withdrawn)
        period = period_of(since, until)
        selected = select_runs(runs, other, butler)
        if period != Period():
            recent = set().union(*(each.runs(period) for each in repositories))
            selected = [run for run in selected if run in recent]
        for done, run in enumerate(selected, 1):
            for difference in comparison.of_run(run, period):
                listed.append(asdict(difference))
                output.line("  ".join(filter(None, asdict(difference).values())))
            show_progress(done, len(selected))
        summary = {each.value: comparison.counts[each] for each in (*Finding, *State)}
        output.line("diff: " + " ".join(f"{name}={count}" for name, count in summary.items()))
        output.document({"summary": summary, "datasets": listed})
    if listed:
        raise SystemExit(1)


def _released_until(replica: Replica) -> int:
    """Return the time up to which everything that was due has been released."""
    now = replica.clock()
    quiet = replica.quiet_hours
    return quiet.began(now) if quiet is not None and quiet.include(now) else now
