"""The recovery of Faust's tables from their changelogs, by private names of Faust."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import faust
from faust.types import TP

if TYPE_CHECKING:
    from faust.tables.manager import TableManager
    from faust.tables.recovery import Recovery

__all__ = ["recover_again", "recovery_progress"]


def recovery_progress(app: faust.App) -> dict[TP, int] | None:
    """Return the offset that the recovery of the tables has reached in each changelog.

    Returns
    -------
    offsets : `dict` [`faust.types.TP`, `int`] or `None`
        `None` if no recovery is running.
    """
    recovery = _recovery(app)
    is_running = recovery.in_recovery and recovery.need_recovery()
    return dict(recovery.active_offsets) if is_running else None


async def recover_again(app: faust.App) -> None:
    """Make table recovery read again from the offsets that it has reached.

    Faust drops messages that are fetched while partitions are revoked.  Its recovery then waits for
    these messages for ever (rule no-gaps-in-offsets).

    Raises
    ------
    IllegalStateError
        If the partitions have been revoked.
    """
    recovery = _recovery(app)
    await recovery._seek_offsets(
        app.consumer, recovery.active_tps, recovery.active_offsets, "active"
    )


def _recovery(app: faust.App) -> Recovery:
    return cast("TableManager", app.tables).recovery
