"""Write a window that keeps failing, although the repository takes other rows.

One event can make a write fail in a way that looks as if the server were at fault: its statements
take too long or too much memory, or wait for a lock that somebody holds.  It must not hold up the
others (rule one-event-holds-up-no-other).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from app.butler.commit.division import Counts, DividedWrite
from app.butler.commit.examination import Examination, alarm_about_rights, lacks_uncertain_right
from app.butler.commit.groups import Groups
from app.butler.commit.transaction import EventTransaction
from app.butler.descriptions import describe
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import Failure, Limit, RetryableError, exceeded_limit, is_locked
from app.butler.insert.overlaps import OverlapRows
from app.butler.outcome import Failed, Rejection
from app.butler.sessions.limits import Limits
from models.causes import Cause

__all__ = ["Isolated", "Isolation", "Turn"]

logger = structlog.get_logger("butler_writer")

#: How long a window is divided before the events that are left get turns of their own, in seconds.
_LONGEST = 20.0

#: Limits while a window is divided, in seconds: what fails with them gets a turn of its own, with
#: those of the policy.
_STATEMENT_TIMEOUT = 4.0
_LOCK_TIMEOUT = 1.0

#: What these limits become, step by step, if many events fail with them, in seconds: others wait.
_SHORTEST_STATEMENT_TIMEOUT = 1.0
_SHORTEST_LOCK_TIMEOUT = 0.03

#: Longest time that an event alone waits for a lock, in seconds: others wait for its turn to end.
_LONGEST_LOCK_TIMEOUT = 5.0

#: How long ago another event must have been written to show that not every write needs the right
#: that an event lacks, in seconds: less than the turns take that confirm it.
_RECENTLY = 10.0

#: How often it must be confirmed that an event is at fault before it is rejected.
_CONFIRMATIONS = 3


@dataclass(frozen=True, slots=True)
class Turn:
    """Which attempt to write a window this is.

    Attributes
    ----------
    is_repeated : `bool`
        Whether the attempt before it failed.
    is_apart : `bool`
        Whether the window consists of events that were postponed.
    confirmed : `int`
        How often it was confirmed that its event is at fault.
    """

    is_repeated: bool = False
    is_apart: bool = False
    confirmed: int = 0


@dataclass(slots=True)
class Isolated:
    """What became of events.

    Attributes
    ----------
    counts : `Counts`
        What the transactions have changed.
    written : `list` [`ParsedEvent`]
        The events that are in the Butler.
    failed : `dict` [`ParsedEvent`, `Failed`]
        The events that cannot be written.
    failing : `dict` [`ParsedEvent`, `RetryableError`]
        The events whose write failed alone, in a way that a retry may help.
    left : `list` [`ParsedEvent`]
        The events for which no time was left.
    confirmed : `int`
        How often it was confirmed that the only failing event is at fault.
    """

    counts: Counts = field(default_factory=Counts)
    written: list[ParsedEvent] = field(default_factory=list)
    failed: dict[ParsedEvent, Failed] = field(default_factory=dict)
    failing: dict[ParsedEvent, RetryableError] = field(default_factory=dict)
    left: list[ParsedEvent] = field(default_factory=list)
    confirmed: int = 0


class Isolation:
    """Writes events in ever smaller groups, each in a transaction of its own.

    Parameters
    ----------
    transaction : `EventTransaction`
        Writes a group.
    examination : `Examination`
        Tells whether the repository takes other rows.
    overlaps : `OverlapRows`
        Counts the overlap rows of events.
    statement_timeout, lock_timeout : `float`
        The limits of the policy, in seconds.
    """

    def __init__(
        self,
        transaction: EventTransaction,
        examination: Examination,
        overlaps: OverlapRows,
        statement_timeout: float,
        lock_timeout: float,
    ) -> None:
        self._transaction = transaction
        self._examination = examination
        self._overlaps = overlaps
        self._short = Limits(
            min(statement_timeout, _STATEMENT_TIMEOUT), min(lock_timeout, _LOCK_TIMEOUT)
        )
        self._suspected: Set[Hashable] = frozenset()
        self._written_at = float("-inf")
        self._full = Limits(statement_timeout, min(lock_timeout, _LONGEST_LOCK_TIMEOUT))

    def add_written(self) -> None:
        """Take note that events were written."""
        self._written_at = time.monotonic()

    def run(
        self,
        events: Sequence[ParsedEvent],
        turn: Turn,
        is_current: Callable[[], bool],
        examine: Callable[[Sequence[ParsedEvent]], Mapping[ParsedEvent, Failed]],
    ) -> Isolated:
        """Write the events that can be written now.

        Parameters
        ----------
        events : `~collections.abc.Sequence` [`ParsedEvent`]
            The events.
        turn : `Turn`
            Which attempt this is.
        is_current : `~collections.abc.Callable`
            Whether the window's partitions are still assigned to this worker.
        examine : `~collections.abc.Callable`
            See `DividedWrite`.

        Raises
        ------
        AbandonedError
            If the window's partitions were revoked.
        RetryableError
            If the repository is at fault, or the events must be prepared again.
        """
        result = Isolated()
        if not events:
            return result
        self._examination.check_repository()
        is_alone = turn.is_apart and len(events) == 1
        started = time.monotonic()
        self._divide(events, self._full if is_alone else self._short, result, is_current, examine)
        if is_alone and result.failing:
            self._judge(turn, result, time.monotonic() - started)
        elif not result.written and (result.failing or result.left):
            self._examination.check_repository()  # it may have become unavailable meanwhile
        return result

    def _divide(
        self,
        events: Sequence[ParsedEvent],
        limits: Limits,
        result: Isolated,
        is_current: Callable[[], bool],
        examine: Callable[[Sequence[ParsedEvent]], Mapping[ParsedEvent, Failed]],
    ) -> None:
        deadline = time.monotonic() + _LONGEST
        groups = Groups(events, self._suspected)
        for group in groups:
            if time.monotonic() > deadline:
                result.left += group
                continue
            write = partial(self._transaction.write, limits=limits)
            trial = DividedWrite(write, dict(enumerate(group)), is_current, examine)
            failure = None
            try:
                trial.run()
            except RetryableError as exc:
                if self._transaction.is_outdated:
                    raise
                failure = exc
            result.counts.add(trial.counts)
            result.written += trial.written
            result.failed |= trial.failed
            groups.add_written(trial.written)
            if failure is not None and (unwritten := trial.unwritten):
                groups.add_failed(unwritten)
                if len(unwritten) == 1:
                    result.failing[unwritten[0]] = failure
                limits = _shortened(limits, failure, is_alone=len(unwritten) == 1)
        self._suspected = groups.reasons

    def _judge(self, turn: Turn, result: Isolated, seconds: float) -> None:
        """Reject an event if it is confirmed again and again that the fault is in it."""
        ((event, error),) = result.failing.items()
        result.confirmed = turn.confirmed
        if lacks_uncertain_right(error):
            is_confirmed = time.monotonic() - self._written_at < _RECENTLY
            rejection = Rejection(
                Cause.MISSING_RIGHT, f"others are written without this right: {describe(error)}"
            )
        else:
            is_confirmed = self._is_confirmed(event, error, seconds)
            rejection = Rejection(
                Cause.LIMIT_EXCEEDED,
                f"the database took as many other rows, but not these: {describe(error)}",
            )
        if not is_confirmed:
            return
        result.confirmed += 1
        if result.confirmed >= _CONFIRMATIONS:
            del result.failing[event]
            result.failed[event] = Failed(rejection, Failure.REJECT)
            alarm_about_rights(result.failed.values())

    def _is_confirmed(self, event: ParsedEvent, error: RetryableError, seconds: float) -> bool:
        """Tell whether an event exceeds a limit where as many other rows do not."""
        limit = exceeded_limit(error)
        timeout = self._full.statement_timeout
        if limit is None or (limit is Limit.STATEMENT and seconds < 0.9 * timeout):
            return False  # for example, somebody has cancelled the statement
        # No table gets more rows of the event than that.
        times = max(sum(1 for _ in event.refs), len(event.records), self._overlaps.total(event))
        allowed = timeout / 2 if limit is Limit.STATEMENT else _LONGEST
        return self._examination.takes_as_many(event, times, allowed)


def _shortened(limits: Limits, error: RetryableError, *, is_alone: bool) -> Limits:
    """Return the limits for the next groups: however many events fail, the others are not late."""
    if is_locked(error):
        shorter = max(limits.lock_timeout / 2, _SHORTEST_LOCK_TIMEOUT)
        return replace(limits, lock_timeout=min(limits.lock_timeout, shorter))
    if is_alone and exceeded_limit(error) is Limit.STATEMENT:
        shorter = max(limits.statement_timeout / 2, _SHORTEST_STATEMENT_TIMEOUT)
        return replace(limits, statement_timeout=min(limits.statement_timeout, shorter))
    return limits
