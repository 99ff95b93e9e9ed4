"""Chained collections: each run in its chain before it is announced."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from lsst.daf.butler import Butler, CollectionType, MissingCollectionError
from lsst.daf.butler.registry import CollectionTypeError

from app.butler.failures import Failure, classify, describe
from app.butler.outcome import Rejection

__all__ = ["ChainKeeper"]

logger = structlog.get_logger("butler_writer")


class ChainKeeper:
    """Sees to it that runs are in their chains.

    A few runs a day, thousands of events: almost always there is nothing to do.  Never inside the
    transaction of a window's write: the lock on the chain's row would line the workers up.
    """

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self._known: set[tuple[str, str]] = set()

    def ensure(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Rejection]:
        """Prepend each run to its chain, unless it is there.

        Parameters
        ----------
        pairs : `~collections.abc.Iterable` [`tuple` [`str`, `str`]]
            (chain, run) pairs.

        Returns
        -------
        refused : `dict` [`tuple` [`str`, `str`], `Rejection`]
            Pairs that can never be: the name is no chain's, for instance.

        Raises
        ------
        Exception
            Whatever else keeps the chains from being updated; trying again is right.
        """
        refused = {}
        for pair in pairs:
            if pair not in self._known:
                try:
                    self._prepend(*pair)
                except Exception as exc:
                    if classify(exc) is not Failure.POISON:
                        raise
                    chain, run = pair
                    refused[pair] = Rejection(
                        type(exc).__name__,
                        f"written, but {run!r} cannot be in the chain {chain!r}: {describe(exc)}",
                    )
                else:
                    self._known.add(pair)
        return refused

    def children(self, chain: str) -> tuple[str, ...]:
        """Return the children of a chain in order; none if there is no such chain."""
        try:
            info = self._butler.collections.get_info(chain)
        except MissingCollectionError:
            return ()
        if info.type is not CollectionType.CHAINED:
            raise CollectionTypeError(f"{chain!r} is a {info.type.name} collection")
        return tuple(info.children)

    def _prepend(self, chain: str, run: str) -> None:
        # A prepend moves a child that is there, and uses up a 16-bit position column: look first.
        if run in self.children(chain):
            return
        with self._butler.transaction():
            self._butler.collections.register(chain, CollectionType.CHAINED)
            self._butler.collections.prepend_chain(chain, run)
        logger.info("run prepended to chain", chain=chain, run=run)
