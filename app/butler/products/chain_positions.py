"""Look up the positions of runs in their chains, which tell other repositories the order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from lsst.daf.butler import Butler

from app.butler.private.chain_rows import ChainRows

__all__ = ["ChainPositions"]

#: For how long a position that was looked up is believed, in seconds (rule lookups-expire).
_BELIEVED = 60.0


class ChainPositions:
    """Looks up the positions of runs in their chains; each is looked up once a minute.

    A run that is put into a chain keeps its position there: only an operator changes it.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    clock : `~collections.abc.Callable`, optional
        Returns the time in seconds, from any start.
    """

    def __init__(self, butler: Butler, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows = ChainRows(butler)
        self._clock = clock
        self._looked_at = clock()
        self._known: dict[tuple[str, str], int] = {}

    def find(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return the positions of (chain, run) pairs; those that are not in the chain have none."""
        if self._clock() - self._looked_at >= _BELIEVED:
            self._known.clear()
            self._looked_at = self._clock()
        found: dict[tuple[str, str], int] = {}
        for pair in pairs:
            position = self._known.get(pair)
            if position is None and (position := self._rows.position(*pair)) is None:
                continue
            found[pair] = self._known[pair] = position
        return found
