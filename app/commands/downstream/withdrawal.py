"""``faust -A app products withdraw``: takes datasets out, so that they do not come back."""

from __future__ import annotations

from uuid import UUID

from app import app
from app.butler.private.removals import Removals
from app.butler.repository.connection import open_butler
from app.commands.downstream.selection import downstream_settings
from app.commands.operator_command import CommandError
from app.commands.output import Output
from app.operations.offsets.rewinding import check_stopped
from app.operations.products.withdrawal import Withdrawal, record

__all__ = ["withdraw"]


async def withdraw(
    output: Output, names: tuple[str, ...], runs: tuple[str, ...], *, dry_run: bool
) -> bool:
    """Withdraw datasets and runs; return whether files could not be removed."""
    kafka = downstream_settings()
    if not names and not runs:
        raise CommandError("name the datasets by their ids, or give --run")
    if wild := [run for run in runs if "*" in run]:
        raise CommandError(f"--run {wild[0]}: withdraw needs the whole name of each run")
    ids = [_id(name) for name in names]
    write = app.settings.write
    butler = open_butler(write.repository or "", write, writeable=not dry_run)
    if not dry_run:
        await check_stopped(app.connection)
    withdrawal = Withdrawal(butler, ids, runs)
    if not dry_run:
        await record(app.connection, kafka, withdrawal.ids, runs)
        # A worker that hangs does not write any more what it prepared before.
        with Removals(butler).counted():
            pass
    removed = withdrawal.remove(dry_run=dry_run)
    for uri in removed.not_removed:
        output.problem(f"not removed: {uri}")
    output.line(
        f"withdraw: datasets={removed.datasets} files={removed.files} "
        f"not-removed={len(removed.not_removed)}"
    )
    output.line("nothing was changed (--dry-run)" if dry_run else "they will not come back")
    output.document(
        {
            "done": not dry_run,
            "datasets": removed.datasets,
            "files": removed.files,
            "not_removed": removed.not_removed,
            "withdrawn": {"ids": withdrawal.ids, "runs": runs},
        }
    )
    return bool(removed.not_removed)


def _id(name: str) -> UUID:
    try:
        return UUID(name)
    except ValueError:
        raise CommandError(f"not the id of a dataset: {name}") from None
