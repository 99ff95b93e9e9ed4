"""``faust -A app products``: the product log, and what comes of it downstream."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
from faust.cli import argument, option

from app import app
from app.commands.downstream.rebuilding import rebuild_log
from app.commands.downstream.selection import RUN, SINCE, period_of
from app.commands.downstream.waiting import show_waiting
from app.commands.downstream.withdrawal import withdraw
from app.commands.operator_command import CommandError, operator_command

__all__ = ["products"]


@app.command(
    argument("action", type=click.Choice(["waiting", "rebuild", "withdraw"])),
    argument("ids", nargs=-1),
    RUN,
    SINCE,
    option("--dry-run", is_flag=True, help="Only say what would be done."),
)
async def products(
    command: Any,
    action: str,
    ids: tuple[str, ...],
    *,
    runs: tuple[str, ...],
    since: datetime | None,
    dry_run: bool,
) -> None:
    """Show what waits for its release, write the product log anew, or withdraw datasets.

    waiting shows how many datasets of each type become available in which hour, which are held
    since the end of their observation is not known, and which types have no rule.  The exit code is
    1 if datasets are held or a type has no rule.  Nothing is changed.

    rebuild sends messages about datasets that BUTLER_REPOSITORY has to its product log, so that a
    downstream repository can be started late or repaired.  The exit code is 1 if some cannot be
    described in the log.

    withdraw takes datasets, given by their IDS or by the whole name of a run, out of a downstream
    repository, with their files, and keeps them from coming back.  All workers must be stopped.
    The exit code is 1 if a file could not be removed.
    """
    with operator_command(command) as output:
        if (ids and action != "withdraw") or (since and action != "rebuild"):
            raise CommandError("ids are for withdraw, and --since is for rebuild")
        if action == "waiting":
            if runs or dry_run:
                raise CommandError("waiting takes no options")
            has_findings = await show_waiting(output)
        elif action == "rebuild":
            has_findings = await rebuild_log(output, runs, period_of(since), dry_run=dry_run)
        else:
            has_findings = await withdraw(output, ids, runs, dry_run=dry_run)
    if has_findings:
        raise SystemExit(1)
