"""Tables that events do not wait for: Faust's recovery stands before the streams."""

from __future__ import annotations

from typing import Any

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

__all__ = ["UnrecoveredTables"]


class _NoRecovery(Recovery):
    async def _build_offsets(
        self, consumer: Any, tps: set[TP], destination: Any, title: str
    ) -> None:
        """Start at the ends of the changelogs, which Faust has just looked up: nothing is left."""
        for tp in tps:
            destination[tp] = self.active_highwaters[tp]


class UnrecoveredTables(TableManager):
    """Leaves the tables as they are at a rebalance: events do not wait for their recovery."""

    @property
    def recovery(self) -> Recovery:
        """The service that gives the partitions to the agents once its tables are recovered."""
        if self._recovery is None:
            self._recovery = _NoRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
