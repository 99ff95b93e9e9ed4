"""The table ``chains``, whichever worker keeps it.

It may have any number of chains, so a list has the newest ones, each with its first runs.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from app.operations.pages.asking import NoAnswer
from app.tables import chains as table
from models.chains import ChainState, added

__all__ = [
    "ChainDocument",
    "ChainsDocument",
    "KeptChains",
    "RunDocument",
    "combined_chain",
    "combined_chains",
    "kept_chain",
    "kept_chains",
]

#: How many chains are listed, and how many runs of each; how many runs are shown of one chain.
LISTED = 1000
_RUNS_LISTED = 20
_RUNS_SHOWN = 1000

#: Bytes of a list as JSON; other workers read no more of an answer than somewhat above.
_BYTES = 6_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDocument:
    """A run of a chain.

    Attributes
    ----------
    first_write, last_write : `float`
        Seconds since the Unix epoch; 0 if it has no dataset.
    datasets, events : `int`
        How many were written, with those that were delivered again.
    """

    run: str
    first_write: float
    last_write: float
    datasets: int
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainDocument:
    """A chain; the figures are those of all its runs.

    Attributes
    ----------
    datasets, events : `int`
        Sums over its runs: an event counts in each run that it was written into.
    run_count : `int`
        How many children it has.
    runs : `~collections.abc.Sequence` [`RunDocument`]
        Its children, in the order in which the Butler searches them: in a list of chains the first
        20, otherwise the first 1000.
    """

    chain: str
    first_write: float
    last_write: float
    datasets: int
    events: int
    run_count: int
    runs: Sequence[RunDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptChains:
    """The chains that one worker keeps.

    Attributes
    ----------
    total : `int`
        How many there are.
    chains : `~collections.abc.Sequence` [`ChainDocument`]
        Those that were written last.
    is_known : `bool`
        Whether it keeps the table, and has read it.
    """

    total: int
    chains: Sequence[ChainDocument]
    is_known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainsDocument:
    """The chains of the table, the one that was written last first.

    Attributes
    ----------
    not_answering : `~collections.abc.Sequence` [`str`]
        The workers that could not be asked.
    is_known : `bool`
        Whether a worker that keeps the table, and has read it, was asked; otherwise chains may be
        missing.
    total : `int`
        How many chains there are.
    chains : `~collections.abc.Sequence` [`ChainDocument`]
        At most 1000 of them.
    """

    at: float
    not_answering: Sequence[str]
    is_known: bool
    total: int
    chains: Sequence[ChainDocument]


def kept_chains(*, is_known: bool) -> KeptChains:
    """Return the chains that this worker keeps: all chains, or none.

    Parameters
    ----------
    is_known : `bool`
        Whether it keeps the table, and has read it.
    """
    newest = heapq.nlargest(LISTED, table.data.items(), key=lambda each: _last_write(each[1]))
    listed: list[ChainDocument] = []
    size = 0
    for name, state in newest:
        if (chain := _document(name, state, _RUNS_LISTED)) is None:
            continue
        size += len(orjson.dumps(chain))
        if size > _BYTES:
            break
        listed.append(chain)
    return KeptChains(total=len(table.data), chains=listed, is_known=is_known)


def kept_chain(name: str) -> ChainDocument | None:
    """Return a chain that this worker keeps."""
    state = table.data.get(name)
    return None if state is None else _document(name, state, _RUNS_SHOWN)


def _last_write(state: ChainState) -> float:
    try:
        return max((float(run.last_write) for run in state.runs), default=0.0)
    except Exception:  # noqa: BLE001 - the changelog may have anything
        return 0.0


def _document(name: str, state: ChainState, most_runs: int) -> ChainDocument | None:
    """Return a chain as the pages show it; `None` if its state is bad."""
    try:
        runs = [
            RunDocument(
                run=str(run.run),
                first_write=float(run.first_write),
                last_write=float(run.last_write),
                datasets=int(run.datasets),
                events=int(run.events),
            )
            for run in state.runs
        ]
    except Exception:  # noqa: BLE001 - the changelog may have anything
        return None
    return ChainDocument(
        chain=name,
        first_write=min((run.first_write for run in runs if run.first_write), default=0.0),
        last_write=max((run.last_write for run in runs), default=0.0),
        datasets=added(*(run.datasets for run in runs)),
        events=added(*(run.events for run in runs)),
        run_count=len(runs),
        runs=runs[:most_runs],
    )


def combined_chains(answers: dict[str, KeptChains | NoAnswer]) -> ChainsDocument:
    """Return the chains of all workers.

    Parameters
    ----------
    answers : `dict` [`str`, `KeptChains` or `NoAnswer`]
        What each worker has answered.
    """
    kept = [answer for answer in answers.values() if not isinstance(answer, NoAnswer)]
    found: dict[str, ChainDocument] = {}
    for chain in (chain for each in kept for chain in each.chains):
        # While the table changes hands, two workers may have it.
        known = found.setdefault(chain.chain, chain)
        found[chain.chain] = max(known, chain, key=lambda each: each.last_write)
    return ChainsDocument(
        at=time.time(),
        not_answering=sorted(n for n, each in answers.items() if isinstance(each, NoAnswer)),
        is_known=any(each.is_known for each in kept),
        total=max((each.total for each in kept), default=0),
        chains=sorted(found.values(), key=lambda chain: chain.last_write, reverse=True)[:LISTED],
    )


def combined_chain(
    answers: Mapping[str, ChainDocument | NoAnswer | None], *, is_known: bool
) -> ChainDocument | NoAnswer | None:
    """Return one chain of the table, or why it is not known.

    Parameters
    ----------
    answers : `~collections.abc.Mapping` [`str`, `ChainDocument`, `NoAnswer` or `None`]
        What each worker has answered.
    is_known : `bool`
        Whether one of them keeps the table, and has read it.
    """
    # While the table changes hands, two workers may have it.
    found = [each for each in answers.values() if isinstance(each, ChainDocument)]
    silent = [
        f"The worker {worker} does not answer. {answer}"
        for worker, answer in sorted(answers.items())
        if isinstance(answer, NoAnswer)
    ]
    if found:
        return max(found, key=lambda each: each.last_write)
    if is_known:
        return None
    if silent:
        return NoAnswer(
            f"{' '.join(silent)} The table of chains may be kept there. Once that worker has left "
            "the group, another one keeps it."
        )
    return NoAnswer(
        "No worker has read the table of chains yet, as it is after a start or a rebalance."
    )
