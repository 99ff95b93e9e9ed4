"""The outcome of each event of a window: written, or rejected with a reason."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar
from uuid import UUID

from app.butler.descriptions import describe, describe_with_type
from app.butler.failures import Failure, RetryableError, cause_of
from models.causes import Cause

__all__ = ["Failed", "Outcome", "Postponed", "Rejection", "WriteReport", "Written"]

K = TypeVar("K", bound=Hashable)

#: Causes that say less than the class of the error does.
_UNSPECIFIC = frozenset({Cause.REFUSED_BY_BUTLER, Cause.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of an event that is in the Butler.

    Attributes
    ----------
    dataset_ids : `tuple` [`uuid.UUID`]
        All its datasets, including those that were in the Butler before.
    runs : `~collections.abc.Mapping` [`str`, `int`]
        The number of its datasets in each run.
    chains : `tuple` [`tuple` [`str`, `str`]]
        The (chain, run) pairs of the event.
    left_out : `Rejection` or `None`
        Why a part of the event is not in the Butler; for that, it becomes a dead letter too.
    unobserved : `tuple` [`uuid.UUID`]
        Those of its datasets whose data ID has no visit, exposure or group.
    """

    dataset_ids: tuple[UUID, ...]
    runs: Mapping[str, int]
    chains: tuple[tuple[str, str], ...]
    left_out: Rejection | None = None
    unobserved: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """The outcome of an event that can never be in the Butler; it becomes a dead letter.

    Attributes
    ----------
    cause : `models.causes.Cause`
        The kind of reason.
    reason : `str`
        One line that says what is wrong.
    """

    cause: Cause
    reason: str

    @classmethod
    def of(cls, error: BaseException) -> Rejection:
        """Return the rejection of an event that failed with an error."""
        cause = cause_of(error)
        return cls(cause, (describe_with_type if cause in _UNSPECIFIC else describe)(error))


@dataclass(frozen=True, slots=True)
class Failed:
    """A failure of one event, or of several events together, that no retry can help.

    Attributes
    ----------
    rejection : `Rejection`
        The reason.
    failure : `~app.butler.failures.Failure`
        `REJECT`, `UNKNOWN`, or `RACE` if that repeated; `RETRY` if the event is to be postponed.
    is_left : `bool`
        Whether the event was not tried, since no time was left.
    paths : `~collections.abc.Collection` [`str`]
        The paths of the artifacts at fault, if only these are.
    """

    rejection: Rejection
    failure: Failure
    is_left: bool = False
    paths: Collection[str] = ()

    @classmethod
    def of(cls, error: RetryableError) -> Failed:
        """Return the failure of an event that is to be postponed."""
        return cls(Rejection.of(error), Failure.RETRY)

    @classmethod
    def for_lack_of_time(cls) -> Failed:
        """Return the failure of an event that was not tried."""
        return cls(Rejection(Cause.UNKNOWN, "no time was left"), Failure.RETRY, is_left=True)


Outcome: TypeAlias = Written | Rejection


@dataclass(frozen=True, slots=True)
class Postponed(Generic[K]):
    """Events that have no outcome yet: they wait for a turn of their own.

    Attributes
    ----------
    keys : `tuple` [`K`]
        The events.
    reason : `str`
        Why they wait.
    is_failing : `bool`
        Whether their write failed, and not just their turn has not come.
    confirmed : `int`
        How often it was confirmed that the fault is in the event, and not in the database.
    """

    keys: tuple[K, ...]
    reason: str
    is_failing: bool = False
    confirmed: int = 0


@dataclass(frozen=True, slots=True)
class WriteReport(Generic[K]):
    """The outcomes of a window.

    Attributes
    ----------
    outcomes : `~collections.abc.Mapping` [`K`, `Outcome`]
        The outcome of each event that has one, in the order of the events.
    inserted : `int`
        Number of datasets that were not in the Butler before.
    mismatched_records : `int`
        Number of dimension records that differ from the stored one.
    lost_tags : `int`
        Number of datasets without the tag, since another one with their data ID has it.
    replaced_records : `int`
        Number of dimension records that got other values.
    postponed : `~collections.abc.Sequence` [`Postponed`]
        The other events; each member is to be written as a window of its own.
    """

    outcomes: Mapping[K, Outcome]
    inserted: int = 0
    mismatched_records: int = 0
    lost_tags: int = 0
    replaced_records: int = 0
    postponed: Sequence[Postponed[K]] = ()

    def followed_by(self, other: WriteReport[K]) -> WriteReport[K]:
        """Return the report of this write and of another one, of other events."""
        return WriteReport(
            {**self.outcomes, **other.outcomes},
            self.inserted + other.inserted,
            self.mismatched_records + other.mismatched_records,
            self.lost_tags + other.lost_tags,
            self.replaced_records + other.replaced_records,
            [*self.postponed, *other.postponed],
        )
