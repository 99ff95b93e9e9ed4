"""The table ``chains``, whichever worker keeps it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.operations.pages.asking import NoAnswer
from app.tables import chains as table
from models.chains import ChainState

__all__ = ["ChainDocument", "ChainsDocument", "RunDocument", "combined_chains", "own_chains"]


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
    runs : `~collections.abc.Sequence` [`RunDocument`]
        Its children, in the order in which the Butler searches them.
    """

    chain: str
    first_write: float
    last_write: float
    datasets: int
    events: int
    runs: Sequence[RunDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainsDocument:
    """All chains that the table has, the one that was written last first.

    Attributes
    ----------
    not_answering : `~collections.abc.Sequence` [`str`]
        The workers that could not be asked; one of them may keep the table.
    """

    at: float
    not_answering: Sequence[str]
    chains: Sequence[ChainDocument]

    def named(self, name: str) -> ChainDocument | None:
        """Return a chain."""
        return next((chain for chain in self.chains if chain.chain == name), None)


def own_chains() -> list[ChainDocument]:
    """Return the chains that this worker keeps: all of them, or none."""
    return [_document(name, state) for name, state in list(table.data.items())]


def _document(name: str, state: ChainState) -> ChainDocument:
    runs = [
        RunDocument(
            run=run.run,
            first_write=run.first_write,
            last_write=run.last_write,
            datasets=run.datasets,
            events=run.events,
        )
        for run in state.runs
    ]
    return ChainDocument(
        chain=name,
        first_write=min((run.first_write for run in runs if run.first_write), default=0.0),
        last_write=max((run.last_write for run in runs), default=0.0),
        datasets=sum(run.datasets for run in runs),
        events=sum(run.events for run in runs),
        runs=runs,
    )


def combined_chains(answers: dict[str, list[ChainDocument] | NoAnswer]) -> ChainsDocument:
    """Return the chains of all workers.

    Parameters
    ----------
    answers : `dict` [`str`, `list` [`ChainDocument`] or `NoAnswer`]
        What each worker has answered.
    """
    found: dict[str, ChainDocument] = {}
    for answer in answers.values():
        for chain in () if isinstance(answer, NoAnswer) else answer:
            # While the table changes hands, two workers may have it.
            known = found.setdefault(chain.chain, chain)
            found[chain.chain] = max(known, chain, key=lambda each: each.last_write)
    return ChainsDocument(
        at=time.time(),
        not_answering=sorted(n for n, each in answers.items() if isinstance(each, NoAnswer)),
        chains=sorted(found.values(), key=lambda chain: chain.last_write, reverse=True),
    )
