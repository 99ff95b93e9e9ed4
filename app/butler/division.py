"""Attempts: again while that may help, in halves where it does not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import TypeVar

import structlog

from app.butler.events.parsed import ParsedEvent
from app.butler.failures import AbandonedError, Failure, RetryableError, classify, describe
from app.butler.insert.batch import RefusedEventsError
from app.butler.outcome import Outcome, Rejection, Written

__all__ = ["Counts", "DividedWrite", "Failed", "attempt", "blame_nobody_for_all"]

T = TypeVar("T")

logger = structlog.get_logger("butler_writer")

#: How often something is tried while another writer was faster each time.
_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Failed:
    """What an event, or some events together, came to grief over."""

    rejection: Rejection
    failure: Failure


@dataclass
class Counts:
    """What transactions brought."""

    inserted: int = 0
    already_there: int = 0
    mismatched_records: int = 0


def attempt(call: Callable[[], T], wanted: Callable[[], bool]) -> T | Failed:
    """Make a call; what trying again cannot mend is returned, the rest is raised.

    Raises
    ------
    AbandonedError
        If the window is no longer wanted.
    RetryableError
        If trying again may mend it.
    RefusedEventsError
        If it is known which events the call failed over.
    """
    for look in range(_LOOKS):
        if not wanted():
            raise AbandonedError
        try:
            return call()
        except (AbandonedError, RetryableError, RefusedEventsError):
            raise
        except Exception as exc:
            failure = classify(exc)
            if failure is Failure.RETRY:
                raise RetryableError(f"{type(exc).__name__}: {describe(exc)}") from exc
            if failure is Failure.LOOK_AGAIN and look < _LOOKS - 1:
                continue
            if failure is Failure.UNKNOWN:
                logger.exception("unknown failure of the Butler write")
            return Failed(Rejection.of(exc), failure)
    raise AssertionError("unreachable")


def blame_nobody_for_all(failed: Collection[Failed], total: int) -> None:
    """Refuse to set several events aside over what nobody knows, when none is left.

    Raises
    ------
    RetryableError
        If the fault must be ours, the database's or the store's.
    """
    unknown = [f for f in failed if f.failure is Failure.UNKNOWN]
    if len(unknown) > 1 and len(failed) == total:
        rejection = unknown[0].rejection
        raise RetryableError(
            f"no event can be written: {rejection.error_class}: {rejection.reason}", alarm=True
        )


class DividedWrite:
    """The write of a window's events: all together but those that cannot be.

    Where the database does not tell which those are, they are found by halves: of n events, one bad
    one costs some 2 log2(n) transactions (the service that this one replaces goes one by one: 50
    events took 18 s instead of 2 s, our measurement).
    """

    def __init__(
        self,
        write_batch: Callable[[Sequence[ParsedEvent]], Counts],
        events: Sequence[ParsedEvent | Failed],
        wanted: Callable[[], bool],
    ) -> None:
        self._write_batch = write_batch
        self._events = {
            i: event for i, event in enumerate(events) if isinstance(event, ParsedEvent)
        }
        self._wanted = wanted
        self._total = len(events)
        self._doubtful: set[int] = set()
        self.failed = {i: event for i, event in enumerate(events) if isinstance(event, Failed)}
        self.counts = Counts()

    @property
    def written(self) -> list[ParsedEvent]:
        """The events that are in the Butler."""
        return [event for index, event in self._events.items() if index not in self.failed]

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of each event, in their order."""
        written = {index: Written.of(event) for index, event in self._events.items()}
        rejected = {index: failed.rejection for index, failed in self.failed.items()}
        return [outcome for _, outcome in sorted((written | rejected).items(), key=itemgetter(0))]

    def run(self) -> None:
        """Write all that can be written.

        Raises
        ------
        AbandonedError
            If the window is no longer wanted.
        RetryableError
            If trying again may mend it, or the fault must be ours or the database's.
        """
        self._write(sorted(self._events))
        while doubtful := sorted(self._doubtful):
            if len(doubtful) == len(self._events):
                break  # nothing was written since
            # What was missing may have come with an event that was written later.
            self._doubtful.clear()
            for index in doubtful:
                del self.failed[index]
                self._write([index])
            if sorted(self._doubtful) == doubtful:
                break
        blame_nobody_for_all(self.failed.values(), self._total)

    def _write(self, indices: list[int]) -> None:
        if not indices:
            return
        events = [self._events[index] for index in indices]
        try:
            result = attempt(partial(self._write_batch, events), self._wanted)
        except RefusedEventsError as exc:
            for position, rejection in exc.rejections.items():
                self.failed[indices[position]] = Failed(rejection, Failure.POISON)
            self._write([index for index in indices if index not in self.failed])
            return
        if isinstance(result, Counts):
            self.counts.inserted += result.inserted
            self.counts.already_there += result.already_there
            self.counts.mismatched_records += result.mismatched_records
        elif len(indices) == 1:
            self.failed[indices[0]] = result
            self._doubtful.add(indices[0])
        else:
            logger.warning(
                "write refused, the window is divided",
                events=len(indices),
                error=f"{result.rejection.error_class}: {result.rejection.reason}",
            )
            middle = len(indices) // 2
            self._write(indices[:middle])
            self._write(indices[middle:])
