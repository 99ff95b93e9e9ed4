"""Keep chained collections: each run is in its chain before its datasets are announced."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple
from uuid import uuid4

import structlog
from lsst.daf.butler import Butler, CollectionType

from app.butler.descriptions import describe, describe_with_type
from app.butler.failures import Failure, RetryableError, classify
from app.butler.outcome import Rejection
from app.butler.private.chain_rows import ChainRows
from app.butler.private.probe import Probe
from app.butler.private.registry import RegistryTables
from app.butler.sessions.limits import Limits

__all__ = ["MADE_BY", "WRITTEN_BUT", "ChainKeeper", "Position"]

#: The documentation of each chain that this service makes: it tells whose chain it is.
MADE_BY = "Made by the Butler writer for the outputs of Prompt Processing."

#: The beginning of the reason if an event was written, and its run could not be put into a chain.
WRITTEN_BUT = "written, but"

logger = structlog.get_logger("butler_writer")

#: How long it is believed that a run is in its chain, in seconds.
_BELIEVED = 60.0

#: Limits on each statement while pairs are tried one by one, and the time for all of them, in
#: seconds.
_ONE_BY_ONE = Limits(statement_timeout=4.0, lock_timeout=1.0)
_LONGEST = 15.0

#: How many characters of a collection's name a reason contains.
_SHOWN = 200


class Position(NamedTuple):
    """The position of a run in a chain; a smaller one comes first.

    Attributes
    ----------
    number : `int`
        The position.
    moves : `bool`
        Whether to move the run there if the chain has it elsewhere.
    """

    number: int
    moves: bool = False


_NO_POSITIONS: Mapping[tuple[str, str], Position] = MappingProxyType({})


class ChainKeeper:
    """Makes sure that runs are in their chains.

    There are a few runs a day and thousands of events, so that there is usually nothing to do.  It
    never happens in the transaction of a window: the workers would have to wait for each other's
    lock on the row of the chain.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The Butler that is written to.
    clock : `~collections.abc.Callable`, optional
        Returns the time in seconds, from any start.
    """

    def __init__(self, butler: Butler, clock: Callable[[], float] = time.monotonic) -> None:
        self._butler = butler
        self._probe = Probe(butler)
        self._rows = ChainRows(butler)
        self._tables = RegistryTables(butler)
        self._clock = clock
        self._looked_at = clock()
        #: Pairs, with the positions that they were given.
        self._known: dict[tuple[str, str], int | None] = {}
        #: Those that could not be looked at the last time.
        self._not_looked_at: dict[tuple[str, str], int | None] = {}

    def ensure(
        self,
        pairs: Iterable[tuple[str, str]],
        held_up: dict[tuple[str, str], str] | None = None,
        positions: Mapping[tuple[str, str], Position] = _NO_POSITIONS,
    ) -> dict[tuple[str, str], Rejection]:
        """Prepend each run to its chain, unless it is in the chain already.

        What is known of the chains is believed for a minute (rule lookups-expire).  Then all pairs
        of that minute are looked up, and those that somebody has removed are prepended again.

        Parameters
        ----------
        pairs : `~collections.abc.Iterable` [`tuple` [`str`, `str`]]
            (chain, run) pairs.
        held_up : `dict` [`tuple` [`str`, `str`], `str`], optional
            Gets the pairs that have to wait although other chains can be changed, and why (rule
            one-event-holds-up-no-other).  Without it, the first one is an error.
        positions : `~collections.abc.Mapping` [`tuple` [`str`, `str`], `Position`], optional
            Where to put the runs of some pairs, instead of prepending them.

        Returns
        -------
        refused : `dict` [`tuple` [`str`, `str`], `Rejection`]
            The pairs that are not possible, for example since the chain's name is that of a run.

        Raises
        ------
        RetryableError
            If the chains cannot be updated for any other reason (rule fault-decided-by-evidence).
        """
        required = list(pairs)
        if self._clock() - self._looked_at >= _BELIEVED:
            self._look_again(set(required))
        refused: dict[tuple[str, str], Rejection] = {}
        unknown: list[tuple[str, str]] = []
        limits, started = (None if held_up is None else _ONE_BY_ONE), self._clock()
        for pair in required:
            if self._is_known(pair, positions.get(pair)):
                continue
            if held_up and self._is_late(pair, started, held_up):
                held_up[pair] = "other chains took too long"
                continue
            try:
                self._add(pair, positions.get(pair), limits)
            except Exception as exc:
                match classify(exc):
                    case Failure.REJECT:
                        refused[pair] = _rejection(pair, exc)
                    case Failure.UNKNOWN:
                        logger.exception("unknown failure of a chain", chain=pair[0], run=pair[1])
                        unknown.append(pair)
                    case Failure.RETRY if held_up is not None:
                        held_up[pair] = f"the chain {pair[0]!r} cannot be changed: {describe(exc)}"
                    case _:
                        raise RetryableError(describe_with_type(exc)) from exc
        if held_up:
            with self._probe.transaction(list, self._prepend_known_good):
                pass
        return refused | (self._examine(unknown, positions) if unknown else {})

    def _is_known(self, pair: tuple[str, str], position: Position | None) -> bool:
        if position is None or not position.moves:
            return pair in self._known
        return self._known.get(pair) == position.number

    def _add(self, pair: tuple[str, str], position: Position | None, limits: Limits | None) -> None:
        if self._put(pair, position, limits):
            where = "prepended to" if position is None else "put into its place in"
            logger.info(f"run {where} chain", chain=pair[0], run=pair[1])
        self._known[pair] = None if position is None else position.number

    def _is_late(
        self, pair: tuple[str, str], started: float, held_up: Mapping[tuple[str, str], str]
    ) -> bool:
        """Return whether not to try a pair now: its chain is held up, or others took too long."""
        is_held_up = any(chain == pair[0] for chain, _ in held_up)
        return is_held_up or self._clock() - started > _LONGEST

    def _look_again(self, required: set[tuple[str, str]]) -> None:
        """Restore the pairs of the last minute, except those that are about to be looked up.

        A pair that cannot be restored now is no reason for others to wait: it is looked at again a
        minute later.
        """
        before = self._not_looked_at | self._known
        due = sorted(before.keys() - required)
        self._known.clear()
        self._not_looked_at.clear()
        self._looked_at = started = self._clock()
        held_up: dict[tuple[str, str], str] = {}
        for pair in due:
            number = before[pair]
            if self._is_late(pair, started, held_up):
                self._not_looked_at[pair] = number
                continue
            try:
                if self._put(pair, None if number is None else Position(number), _ONE_BY_ONE):
                    logger.warning(
                        "run was removed from its chain, and is prepended again",
                        chain=pair[0],
                        run=pair[1],
                    )
            except Exception as exc:  # noqa: BLE001 - what is required fails by itself
                reason = describe(exc)
                if classify(exc) is not Failure.REJECT:
                    held_up[pair] = reason
                    self._not_looked_at[pair] = number
                logger.warning(
                    "run was removed from its chain, and cannot be prepended again",
                    chain=pair[0],
                    run=pair[1],
                    reason=reason,
                    is_tried_again=pair in held_up,
                )

    def _examine(
        self,
        pairs: Sequence[tuple[str, str]],
        positions: Mapping[tuple[str, str], Position],
    ) -> dict[tuple[str, str], Rejection]:
        """Refuse the pairs that are not possible where another one is; nothing is changed."""
        refused: dict[tuple[str, str], Rejection] = {}
        with self._probe.transaction(list, self._prepend_known_good):
            for pair in pairs:
                try:
                    with self._probe.savepoint():
                        self._put(pair, positions.get(pair))
                except Exception as exc:
                    if classify(exc) is Failure.RETRY:
                        raise
                    refused[pair] = _rejection(pair, exc)
        if passed := [pair for pair in pairs if pair not in refused]:
            raise RetryableError(f"a probe has shown that these are possible: {passed}")
        return refused

    def _prepend_known_good(self) -> None:
        """Prepend a new run to a new chain."""
        chain, run = f"probe-{uuid4()}", f"probe-{uuid4()}"
        self._butler.collections.register(run)
        self._put((chain, run))

    def _put(
        self,
        pair: tuple[str, str],
        position: Position | None = None,
        limits: Limits | None = None,
    ) -> bool:
        """Put a run into a chain, unless it is there; return whether the chain has changed."""
        chain, run = pair
        found = self._rows.position(chain, run)
        if found is not None and (
            position is None or not position.moves or found == position.number
        ):
            return False
        with self._butler.transaction():
            if limits is not None:
                with self._tables.connection() as connection:
                    limits.set(connection)
            # To register one that exists reads all its children.
            if not self._rows.exists(chain):
                self._butler.collections.register(chain, CollectionType.CHAINED, MADE_BY)
            if position is not None:
                return self._rows.put(chain, run, position.number, moves=position.moves)
            # Each prepend uses one of the 2^16 positions of a chain, and moves a child that is in
            # it, perhaps since a moment ago: whoever knows its position would not notice.
            self._rows.lock(chain)
            if self._rows.position(chain, run) is not None:
                return False
            self._butler.collections.prepend_chain(chain, run)
        return True


def _rejection(pair: tuple[str, str], error: Exception) -> Rejection:
    chain, run = (name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..." for name in pair)
    rejection = Rejection.of(error)
    reason = f"{WRITTEN_BUT} {run!r} cannot be in the chain {chain!r}: {rejection.reason}"
    return Rejection(rejection.cause, reason)
