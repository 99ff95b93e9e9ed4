"""The runs of a repository that an operator has selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsst.daf.butler import Butler, CollectionType, MissingCollectionError

from app.butler.policy import Expression
from app.butler.private.ingest_dates import Period
from app.butler.products.stored_products import StoredProducts
from app.butler.repository.chains import MADE_BY
from app.errors import OperatorError
from app.operations.chains import is_derived

__all__ = ["NoRunError", "SelectedRun", "chains_of_runs", "select_runs"]


class NoRunError(OperatorError):
    """No run is selected."""


@dataclass(frozen=True, slots=True)
class SelectedRun:
    """A run.

    Attributes
    ----------
    name : `str`
        Its name.
    chains : `tuple` [`str`, ...]
        The chains of Prompt Processing that it is in.
    """

    name: str
    chains: tuple[str, ...] = ()


def select_runs(patterns: Sequence[str], *butlers: Butler) -> list[str]:
    """Return the runs that some patterns match, and those of matching chains.

    Parameters
    ----------
    patterns : `~collections.abc.Sequence` [`str`]
        Names of runs or chains, with ``*`` for any text; empty: all runs.
    *butlers : `lsst.daf.butler.Butler`
        The repositories.

    Raises
    ------
    NoRunError
        If no repository has a run for one of the patterns.
    """
    runs: dict[str, None] = {}
    for pattern in patterns or ["*"]:
        found = [run for butler in butlers for run in _matching(butler, pattern)]
        if not found and patterns:
            raise NoRunError(f"--run {pattern}: there is no run or chain of this name")
        runs.update(dict.fromkeys(found))
    return [*runs]


def _matching(butler: Butler, pattern: str) -> Sequence[str]:
    kinds = {CollectionType.RUN, CollectionType.CHAINED}
    try:
        found = butler.collections.query(pattern, collection_types=kinds)
        return butler.collections.query(
            found, collection_types={CollectionType.RUN}, flatten_chains=True
        )
    except MissingCollectionError:
        return []


def chains_of_runs(
    butler: Butler,
    stored: StoredProducts,
    runs: Sequence[str],
    period: Period,
    pattern: Expression | None,
) -> list[SelectedRun]:
    """Return runs with their chains, in the order in which they came into these.

    Only chains that this service has made, or that a pattern gives, count: others are somebody's
    own.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    stored : `StoredProducts`
        Its datasets.
    runs : `~collections.abc.Sequence` [`str`]
        The runs.
    period : `Period`
        Those into which nothing came in this period are left out.
    pattern : `~app.butler.policy.Expression` or `None`
        Finds the chain in the name of a run.
    """
    chains: dict[str, list[str]] = {run: [] for run in runs}
    order: dict[str, None] = {}
    infos = butler.collections.query_info(
        "*", collection_types={CollectionType.CHAINED}, include_doc=True
    )
    for info in infos:
        if info.doc == MADE_BY or is_derived(info.name, info.children, pattern):
            for run in reversed(info.children):
                if run in chains:
                    chains[run].append(info.name)
                    order[run] = None
    if period != Period():
        recent = stored.runs(period)
        chains = {run: of_run for run, of_run in chains.items() if run in recent}
    ordered = dict.fromkeys([*order, *chains])
    return [SelectedRun(run, (*sorted(chains[run]),)) for run in ordered if run in chains]
