"""What becomes of the events of a window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from app.butler.events.parsed import ParsedEvent
from app.butler.failures import describe

__all__ = ["Outcome", "Rejection", "WriteReport", "Written"]


@dataclass(frozen=True, slots=True)
class Written:
    """An event that is in the Butler.

    Attributes
    ----------
    dataset_ids : `tuple` [`uuid.UUID`]
        All its datasets, those that were there before too.
    runs : `~collections.abc.Mapping` [`str`, `int`]
        How many of them each run has.
    chains : `tuple` [`tuple` [`str`, `str`]]
        The (chain, run) pairs that it belongs to.
    """

    dataset_ids: tuple[UUID, ...]
    runs: Mapping[str, int]
    chains: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, event: ParsedEvent) -> Written:
        """Say what was written of an event."""
        runs = {ref.id: ref.run for ref in event.refs}
        return cls(tuple(runs), Counter(runs.values()), event.chains)


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that can never be in the Butler."""

    error_class: str
    reason: str

    @classmethod
    def of(cls, error: BaseException) -> Rejection:
        """Say why an event was rejected."""
        return cls(type(error).__name__, describe(error))


Outcome: TypeAlias = Written | Rejection


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What became of a window's events.

    Attributes
    ----------
    outcomes : `list` [`Outcome`]
        One for each event, in their order.
    inserted, already_there : `int`
        How many datasets were written, and how many had been.
    mismatched_records : `int`
        How many dimension records differ from the stored one.
    """

    outcomes: list[Outcome]
    inserted: int = 0
    already_there: int = 0
    mismatched_records: int = 0
