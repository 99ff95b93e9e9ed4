"""Write a window in one transaction, or divide it to find the events that cannot be written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Generic, TypeVar

import structlog
from lsst.daf.butler import DatasetId, DimensionGroup

from app.butler.descriptions import describe_with_type
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import AbandonedError, Failure, RetryableError, classify
from app.butler.insert.batch import RefusedEventsError
from app.butler.outcome import Failed, Outcome, Rejection, Written
from models.causes import Cause

__all__ = ["Counts", "DividedWrite", "attempt", "written_outcome"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

logger = structlog.get_logger("butler_writer")

#: How often a call is made while another writer wins the race each time.
_ATTEMPTS = 3

_OBSERVATIONS = frozenset({"visit", "exposure", "group"})


@dataclass
class Counts:
    """What one or more transactions changed.

    Attributes
    ----------
    inserted : `int`
        Number of datasets that were not in the Butler before.
    mismatched_records : `int`
        Number of dimension records that differ from the stored one.
    lost_tags : `int`
        Number of datasets without the tag, since another one with their data ID has it.
    replaced_records : `int`
        Number of dimension records that got other values.
    """

    inserted: int = 0
    mismatched_records: int = 0
    lost_tags: int = 0
    replaced_records: int = 0

    def add(self, other: Counts) -> None:
        """Add the counts of another transaction."""
        self.inserted += other.inserted
        self.mismatched_records += other.mismatched_records
        self.lost_tags += other.lost_tags
        self.replaced_records += other.replaced_records


def attempt(call: Callable[[], T], is_current: Callable[[], bool]) -> T | Failed:
    """Make a call; return a permanent failure, and raise one that a retry may help.

    Parameters
    ----------
    call : `~collections.abc.Callable`
        The call.
    is_current : `~collections.abc.Callable`
        Whether the window's partitions are still assigned to this worker.

    Raises
    ------
    AbandonedError
        If the window's partitions were revoked.
    RetryableError
        If a retry may help.
    RefusedEventsError
        If the call found out which events cannot be written.
    """
    for number in range(1, _ATTEMPTS + 1):
        if not is_current():
            raise AbandonedError
        try:
            return call()
        except (AbandonedError, RetryableError, RefusedEventsError):
            raise
        except Exception as exc:
            failure = classify(exc)
            if failure is Failure.RETRY:
                raise RetryableError(describe_with_type(exc)) from exc
            if failure is Failure.RACE and number < _ATTEMPTS:
                continue
            rejection = Rejection.of(exc)
            if failure is Failure.UNKNOWN and rejection.cause is Cause.UNKNOWN:
                logger.exception("unknown failure of the Butler write")
            return Failed(rejection, failure)
    raise AssertionError("unreachable")


def written_outcome(event: ParsedEvent) -> Written:
    """Return the outcome of an event that was written."""
    # By the bytes of the id, since a sender can choose ids for which Python's hash is the same.
    datasets = {
        dataset_id.bytes: (dataset_id, ref.run) for ref in event.refs for dataset_id in [ref.id]
    }
    ids = tuple(dataset_id for dataset_id, _ in datasets.values())
    runs = Counter(run for _, run in datasets.values())
    return Written(ids, runs, event.chains, event.left_out, _unobserved(event))


def _unobserved(event: ParsedEvent) -> tuple[DatasetId, ...]:
    data_ids = {id(ref.dataId): ref.dataId for ref in event.refs}  # an event has few
    found = {key for key, data_id in data_ids.items() if not _is_observed(data_id.dimensions)}
    if not found:
        return ()
    return tuple(ref.id for ref in event.refs if id(ref.dataId) in found)


@lru_cache(maxsize=1000)
def _is_observed(dimensions: DimensionGroup) -> bool:
    return not _OBSERVATIONS.isdisjoint(dimensions.names)


class _UnknownFailureError(Exception):
    """It is not known whose fault a failure is."""


class DividedWrite(Generic[K]):
    """The write of a window, which leaves out the events that cannot be written.

    All other events are written in one transaction.  Where the database does not say which events
    are at fault, they are found by bisection: one bad event among n costs about 2 log2(n)
    transactions.  (The service that this one replaces then writes one event at a time: 50 events
    took 18 s instead of 2 s, our measurement.)

    Parameters
    ----------
    write_batch : `~collections.abc.Callable`
        Writes some events in one transaction.
    prepared : `~collections.abc.Mapping` [`K`, `ParsedEvent` or `Failed`]
        The events of the window; those that have failed already are left out.
    is_current : `~collections.abc.Callable`
        Whether the window's partitions are still assigned to this worker.
    examine : `~collections.abc.Callable`, optional
        Called once at most, for a failure that may not be the events' fault: returns the failures
        of those events that are at fault, or raises `RetryableError`.  Without it, every failure is
        the events' fault: the caller has made sure that it is.

    Attributes
    ----------
    counts : `Counts`
        What the transactions have changed so far.
    failed : `dict` [`ParsedEvent`, `Failed`]
        The events that cannot be written, as far as they are found.
    """

    def __init__(
        self,
        write_batch: Callable[[Sequence[ParsedEvent]], Counts],
        prepared: Mapping[K, ParsedEvent | Failed],
        is_current: Callable[[], bool],
        examine: Callable[[Sequence[ParsedEvent]], Mapping[ParsedEvent, Failed]] | None = None,
    ) -> None:
        self._write_batch = write_batch
        self._prepared = prepared
        self._is_current = is_current
        self._events = [event for event in prepared.values() if isinstance(event, ParsedEvent)]
        self._examine = examine
        self._is_examined = False
        self._written: set[ParsedEvent] = set()
        self.failed: dict[ParsedEvent, Failed] = {}
        self._uncertain: set[ParsedEvent] = set()
        self.counts = Counts()

    @property
    def written(self) -> list[ParsedEvent]:
        """The events that are in the Butler."""
        return [event for event in self._events if event in self._written]

    @property
    def unwritten(self) -> list[ParsedEvent]:
        """The events that are neither in the Butler nor known to be at fault."""
        known = self._written | self.failed.keys()
        return [event for event in self._events if event not in known]

    @property
    def outcomes(self) -> dict[K, Outcome]:
        """The outcome of each event, in the order of the events."""
        return {key: self._outcome(event) for key, event in self._prepared.items()}

    def _outcome(self, event: ParsedEvent | Failed) -> Outcome:
        if isinstance(event, Failed):
            return event.rejection
        failed = self.failed.get(event)
        return written_outcome(event) if failed is None else failed.rejection

    def run(self) -> None:
        """Write all events that can be written.

        Raises
        ------
        AbandonedError
            If the window's partitions were revoked.
        RetryableError
            If a retry may help, or the fault is not in the events.
        """
        try:
            self._divide()
        except _UnknownFailureError:
            self._write_what_passes_examination()

    def _write_what_passes_examination(self) -> None:
        """Find the events at fault with the help of a probe, and write the others."""
        if self._examine is None:
            raise AssertionError("unreachable")
        unwritten = [event for event in self._events if event not in self._written]
        self.failed = dict(self._examine(unwritten))
        self._is_examined = True
        self._write([event for event in unwritten if event not in self.failed])

    def _divide(self) -> None:
        self._write(self._events)
        while uncertain := self._in_order(self._uncertain):
            if len(uncertain) == len(self._events):
                break  # nothing was written that one of them could need
            # An event that was written later may have brought what these lacked.
            self._uncertain.clear()
            for event in uncertain:
                del self.failed[event]
                self._write([event])
            if self._in_order(self._uncertain) == uncertain:
                break

    def _in_order(self, events: Collection[ParsedEvent]) -> list[ParsedEvent]:
        return [event for event in self._events if event in events]

    def _write(self, events: Sequence[ParsedEvent]) -> None:
        if not events:
            return
        try:
            result = attempt(partial(self._write_batch, events), self._is_current)
        except RefusedEventsError as exc:
            for event, rejection in exc.rejections.items():
                paths = exc.paths.get(event, ())
                self.failed[event] = Failed(rejection, Failure.REJECT, paths=paths)
            self._write([event for event in events if event not in self.failed])
            return
        if isinstance(result, Counts):
            self.counts.add(result)
            self._written.update(events)
            return
        if result.failure is not Failure.REJECT and self._examine is not None:
            if not self._is_examined:
                raise _UnknownFailureError
            if len(events) == 1:
                raise RetryableError(
                    f"a write failed that a probe has shown to be possible: "
                    f"{result.rejection.reason}",
                    alarm=True,
                )
        if len(events) == 1:
            self.failed[events[0]] = result
            self._uncertain.add(events[0])
        else:
            logger.warning(
                "the Butler refused the write; the window is divided to find the bad events",
                events=len(events),
                error=f"{result.rejection.cause}: {result.rejection.reason}",
            )
            middle = len(events) // 2
            self._write(events[:middle])
            self._write(events[middle:])
