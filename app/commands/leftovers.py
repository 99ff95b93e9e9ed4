"""``faust -A app leftovers``: finds and removes files that pods left behind."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from faust.cli import option

from app import app
from app.butler.policy import Transfer
from app.butler.repository.connection import open_butler
from app.commands.age import Age
from app.commands.operator_command import CommandError, operator_command, read_only_butler
from app.operations.leftovers import Leftover, Leftovers

__all__ = ["leftovers"]


@app.command(
    option(
        "--older-than",
        type=Age(),
        required=True,
        help="Only files of at least this age, such as 12h or 1d; the minimum is 1h.",
    ),
    option(
        "--folder",
        "folders",
        multiple=True,
        help="Also search this folder of the datastore, such as a chain's, for files that the "
        "datastore does not know.  This includes files that other programs keep there.",
    ),
    option("--delete", is_flag=True, help="Remove the files found; without it, only list them."),
)
async def leftovers(
    command: Any, older_than: timedelta, folders: tuple[str, ...], *, delete: bool
) -> None:
    """Find files that pods left behind, and remove them on request.

    A file is a leftover if no event names it; in the given folders of the datastore, it must also
    be unknown to the datastore.  All events that are not processed yet count, however far behind
    the workers are, and so do dead letters, since they may be replayed.  The age therefore only has
    to be longer than a pod takes from writing its first file to sending its event, including
    retries; a day is safe.  Run this command with the environment variables of the workers.

    In a downstream repository, files in the given folders are leftovers if no dataset has them.
    """
    with operator_command(command) as output:
        settings = app.settings
        write, downstream = settings.write, settings.downstream
        if downstream.is_replica and downstream.transfer is Transfer.IN_PLACE:
            raise CommandError("BUTLER_WRITER_TRANSFER=in-place: all files are somebody else's")
        # To remove files of a downstream repository, its workers must be kept from writing.
        is_changed = downstream.is_replica and delete
        search = Leftovers(
            app.connection,
            settings.kafka,
            () if downstream.is_replica else write.staging_roots,
            open_butler(write.repository or "", write) if is_changed else read_only_butler(),
            older_than=older_than,
            folders=folders,
            limits=settings.limits,
        )
        found = await search.find()
        for each in found:
            output.line(f"{each.kind:<6}  {each.modified:%Y-%m-%dT%H:%M:%S}  {each.uri}")
        failed = search.remove(found) if delete else []
        for line in failed:
            output.problem(f"not removed: {line}")
        summary = _summary(found, removed=len(found) - len(failed) if delete else 0)
        output.line("leftovers: " + " ".join(f"{name}={count}" for name, count in summary.items()))
        output.document(
            {"summary": summary, "files": [_row(each) for each in found], "not_removed": failed}
        )
    if failed:
        raise SystemExit(1)


def _row(leftover: Leftover) -> dict[str, Any]:
    return {
        "kind": leftover.kind,
        "uri": str(leftover.uri),
        "size": leftover.size,
        "modified": leftover.modified.isoformat(),
    }


def _summary(found: list[Leftover], *, removed: int) -> dict[str, int]:
    kinds = Counter(leftover.kind for leftover in found)
    size = sum(leftover.size for leftover in found)
    return {
        "staged": kinds["staged"],
        "final": kinds["final"],
        "bytes": size,
        "removed": removed,
    }
