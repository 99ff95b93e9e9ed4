"""Keep chained collections: each run is in its chain before its datasets are announced."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from lsst.daf.butler import Butler, CollectionType, MissingCollectionError
from lsst.daf.butler.registry import CollectionTypeError

from app.butler.failures import Failure, classify
from app.butler.outcome import Rejection

__all__ = ["ChainKeeper"]

logger = structlog.get_logger("butler_writer")


class ChainKeeper:
    """Makes sure that runs are in their chains.

    There are a few runs a day and thousands of events, so that there is usually nothing to do.  It
    never happens in the transaction of a window: the workers would have to wait for each other's
    lock on the row of the chain.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The Butler that is written to.
    """

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self._known: set[tuple[str, str]] = set()

    def ensure(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Rejection]:
        """Prepend each run to its chain, unless it is in the chain already.

        Parameters
        ----------
        pairs : `~collections.abc.Iterable` [`tuple` [`str`, `str`]]
            (chain, run) pairs.

        Returns
        -------
        refused : `dict` [`tuple` [`str`, `str`], `Rejection`]
            The pairs that are not possible, for example since the chain's name is that of a run.

        Raises
        ------
        Exception
            If the chains cannot be updated for any other reason; a retry may help.
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
                    rejection = Rejection.of(exc)
                    refused[pair] = Rejection(
                        rejection.cause,
                        f"written, but {run!r} cannot be in the chain {chain!r}: "
                        f"{rejection.reason}",
                    )
                else:
                    self._known.add(pair)
        return refused

    def children(self, chain: str) -> tuple[str, ...]:
        """Return the children of a chain in order; none if the chain does not exist."""
        try:
            info = self._butler.collections.get_info(chain)
        except MissingCollectionError:
            return ()
        if info.type is not CollectionType.CHAINED:
            raise CollectionTypeError(f"{chain!r} is a {info.type.name} collection, not a chain")
        return tuple(info.children)

    def _prepend(self, chain: str, run: str) -> None:
        # Each prepend uses one of the 2^16 positions of a chain, and moves a child that is in it.
        if run in self.children(chain):
            return
        with self._butler.transaction():
            self._butler.collections.register(chain, CollectionType.CHAINED)
            self._butler.collections.prepend_chain(chain, run)
        logger.info("run prepended to chain", chain=chain, run=run)
