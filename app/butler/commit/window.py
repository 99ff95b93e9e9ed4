"""Commit a prepared window: in one transaction, unless some events need another."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

from app.butler.commit.division import DividedWrite, written_outcome
from app.butler.commit.examination import Examination, alarm_about_rights
from app.butler.commit.isolation import Isolated, Isolation, Turn
from app.butler.commit.transaction import EventTransaction
from app.butler.descriptions import describe
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import Failure
from app.butler.insert.overlaps import OverlapRows
from app.butler.outcome import Failed, Outcome, Postponed, WriteReport
from app.butler.policy import WritePolicy

__all__ = ["PreparedWindow", "WindowCommit"]

K = TypeVar("K", bound=Hashable)

PreparedWindow: TypeAlias = Mapping[K, ParsedEvent | Failed]
"""The events of a window, in their order: each parsed, or with the reason why it cannot be
written."""

#: For how long windows are written with short limits after an event had to be isolated, in seconds:
#: the next event of the same kind then costs the others little time.
_WARY_TIME = 60.0


class WindowCommit:
    """Commits prepared windows.

    Parameters
    ----------
    transaction : `EventTransaction`
        Writes events.
    examination : `Examination`
        Finds out whether the repository is at fault.
    overlaps : `OverlapRows`
        Counts the overlap rows of events.
    policy : `WritePolicy`
        The limits on statements.
    """

    def __init__(
        self,
        transaction: EventTransaction,
        examination: Examination,
        overlaps: OverlapRows,
        policy: WritePolicy,
    ) -> None:
        self._transaction = transaction
        self._examination = examination
        self._overlaps = overlaps
        self._isolation = Isolation(
            transaction, examination, overlaps, policy.statement_timeout, policy.lock_timeout
        )
        self._wary_until = float("-inf")

    def run(
        self, prepared: PreparedWindow[K], turn: Turn, is_current: Callable[[], bool]
    ) -> tuple[WriteReport[K], Sequence[ParsedEvent]]:
        """Write the events of a window; return the report, and the events that were written.

        If only some artifacts of an event that is divisible are refused, the others are written.

        Raises
        ------
        AbandonedError
            If the window's partitions were revoked.
        RetryableError
            If the events cannot be written now; committing the same window again is safe.
        """

        def examine(suspects: Sequence[ParsedEvent]) -> Mapping[ParsedEvent, Failed]:
            try:
                failures = self._examination.find_failures(
                    self._transaction.insert, suspects, is_current
                )
            finally:
                self._transaction.forget()  # what the examination has registered is gone
            alarm_about_rights(failures.values())
            return failures

        events = [event for event in prepared.values() if isinstance(event, ParsedEvent)]
        now, *later = self._overlaps.turns(events)
        if turn.is_repeated or turn.is_apart or time.monotonic() < self._wary_until:
            result = self._isolation.run(now, turn, is_current, examine)
            if result.failing or result.left:
                self._wary_until = time.monotonic() + _WARY_TIME
        else:
            write = DividedWrite(self._transaction.write, dict(enumerate(now)), is_current, examine)
            write.run()
            result = Isolated(write.counts, write.written, write.failed)
        if result.written:
            self._isolation.add_written()
        reduced = _reduced(prepared, result)
        outcomes = {
            key: outcome
            for key, event in prepared.items()
            if key not in reduced and (outcome := _outcome(event, result)) is not None
        }
        postponed = _postponed(prepared, result, later)
        report = WriteReport(outcomes, **vars(result.counts), postponed=postponed)
        if not reduced:
            return report, result.written
        rest, written = self.run(reduced, turn, is_current)
        both = report.followed_by(rest)
        in_order = {key: both.outcomes[key] for key in prepared if key in both.outcomes}
        return replace(both, outcomes=in_order), [*result.written, *written]


def _reduced(prepared: PreparedWindow[K], result: Isolated) -> dict[K, ParsedEvent]:
    """Return what is left of the events of which only some artifacts were refused."""
    reduced = {}
    for key, event in prepared.items():
        if isinstance(event, ParsedEvent) and (failed := result.failed.get(event)) is not None:
            left = event.without(failed.paths, failed.rejection)
            if left is not None:
                reduced[key] = left
    return reduced


def _outcome(event: ParsedEvent | Failed, result: Isolated) -> Outcome | None:
    if isinstance(event, Failed):
        return None if event.failure is Failure.RETRY else event.rejection
    if (failed := result.failed.get(event)) is not None:
        return failed.rejection
    return written_outcome(event) if event in result.written else None


def _postponed(
    prepared: PreparedWindow[K], result: Isolated, later: Sequence[Sequence[ParsedEvent]]
) -> list[Postponed[K]]:
    """Return the events without an outcome; those that fail come alone."""
    keys = {event: key for key, event in prepared.items() if isinstance(event, ParsedEvent)}
    failing = [
        Postponed((keys[event],), describe(error), is_failing=True, confirmed=result.confirmed)
        for event, error in result.failing.items()
    ]
    unprepared = {
        key: event
        for key, event in prepared.items()
        if isinstance(event, Failed) and event.failure is Failure.RETRY
    }
    failing += [
        Postponed((key,), event.rejection.reason, is_failing=True)
        for key, event in unprepared.items()
        if not event.is_left
    ]
    left = [key for key, event in unprepared.items() if event.is_left]
    waiting = [
        Postponed(tuple(group), reason)
        for group, reason in [
            (left, "preparing the window took too long"),
            ([keys[event] for event in result.left], "the write of the window took too long"),
            *(([keys[e] for e in turn], "the regions overlap very many pixels") for turn in later),
        ]
        if group
    ]
    return [*failing, *waiting]
