"""Which chains an event may put its runs into."""

from __future__ import annotations

import time
from collections.abc import Callable

from lsst.daf.butler import Butler, CollectionType, MissingCollectionError

from app.butler.policy import Expression
from app.butler.repository.chains import MADE_BY
from models.causes import Cause
from models.errors import NotAllowedError

__all__ = ["AllowedChains"]

#: How long the answer of the repository is believed, in seconds, and how many are kept.
_BELIEVED = 60.0
_MOST = 1000


class AllowedChains:
    """Refuses chains that an event may not name.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Looks up chains; no other thread uses it.
    pattern : `Expression` or `None`
        What they must match.  `None`: an event may name a chain whose name its
        run's name begins with, one that does not exist yet, and one that this service has made.
    clock : `~collections.abc.Callable`, optional
        Returns the time in seconds, from any start.
    """

    def __init__(
        self,
        butler: Butler,
        pattern: Expression | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._butler = butler
        self._pattern = pattern
        self._clock = clock
        self._ours: dict[str, tuple[bool, float]] = {}

    def check(self, chain: str, run: str) -> None:
        """Check a chain that an event names for a run.

        Raises
        ------
        NotAllowedError
            If the event may not name it.
        """
        if self._pattern is not None:
            if not self._pattern.matches(chain):
                raise NotAllowedError(
                    Cause.CHAIN_NOT_ALLOWED,
                    f"chain {chain!r} does not match BUTLER_WRITER_ALLOWED_CHAINS; name a chain "
                    "that does, or change the setting, then replay",
                )
        elif not run.startswith(f"{chain}/") and not self._is_ours(chain):
            raise NotAllowedError(
                Cause.CHAIN_NOT_ALLOWED,
                f"chain {chain!r} is not of this service, and run {run!r} is not below it; name "
                "another chain, or allow this one with BUTLER_WRITER_ALLOWED_CHAINS, then replay",
            )

    def _is_ours(self, chain: str) -> bool:
        """Tell whether this service has made a chain, or will make it (rule lookups-expire)."""
        is_ours, expires = self._ours.get(chain, (False, float("-inf")))
        if self._clock() >= expires:
            is_ours = self._look_up(chain)
            if len(self._ours) >= _MOST:
                self._ours.clear()
            self._ours[chain] = is_ours, self._clock() + _BELIEVED
        return is_ours

    def _look_up(self, chain: str) -> bool:
        try:
            info = self._butler.collections.get_info(chain)
        except MissingCollectionError:
            return True
        # That a run cannot be a chain is said where it is prepended.
        return info.type is not CollectionType.CHAINED or info.doc == MADE_BY
