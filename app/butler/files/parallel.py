"""Ask a file store about many artifacts: in parallel, within a timeout, and again after a wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any, TypeVar

from lsst.utils.iteration import chunk_iterable

from app.butler.away import StoreError
from app.butler.files.threads import DaemonThreads
from app.butler.policy import WritePolicy

__all__ = [
    "UnansweredError",
    "call_for_chunks",
    "call_for_groups",
    "missing_after_retries",
    "unanswered",
]

_T = TypeVar("_T", bound=Hashable)
_R = TypeVar("_R")
_Group = TypeVar("_Group", bound=Collection[Any])

#: All calls share these threads, so that a store that hangs takes no further ones; boto3 keeps as
#: many connections.
_THREADS = DaemonThreads(10, "artifacts")

#: Number of artifacts in a chunk.  On a local disk, handing over an artifact to a thread takes ten
#: times as long as the check that it exists.
_CHUNK = 16


class _Chunk(Collection[_T]):
    """Some items, of which is known which one was taken last."""

    def __init__(self, items: Sequence[_T]) -> None:
        self._items = items
        self.taken: list[_T] = []

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[_T]:
        for item in self._items:
            self.taken = [item]
            yield item


#: Calls that were not finished in time, each with its items.
_late: dict[Future[Any], _Chunk[Any]] = {}


class UnansweredError(StoreError):
    """A file store has not responded in time.

    Attributes
    ----------
    items : `set`
        The items for which a call hangs, as far as they are known.
    """

    def __init__(self, reason: str, items: set[Hashable]) -> None:
        super().__init__(reason)
        self.items = items


def unanswered() -> set[Hashable]:
    """Return the items for which a call hangs: another call would take another thread."""
    for call in [call for call in _late if call.done()]:
        _late.pop(call, None)
    return {item for chunk in [*_late.values()] for item in chunk.taken}


def missing_after_retries(
    items: set[_T],
    find_missing: Callable[[Iterable[_T]], Iterable[_T]],
    policy: WritePolicy,
    timeout: float,
    is_current: Callable[[], bool],
) -> set[_T]:
    """Return the items that are still missing after a few short waits.

    Parameters
    ----------
    items : `set`
        The items to look for.
    find_missing : `~collections.abc.Callable`
        Returns those of some items that are missing.
    policy : `WritePolicy`
        How often to look, and how long to wait in between.
    timeout : `float`
        Seconds that one look for all items may take.
    is_current : `~collections.abc.Callable`
        Whether the window's partitions are still assigned to this worker; if not, there is no wait.

    Raises
    ------
    UnansweredError
        If a look takes longer than the timeout.
    """
    missing = items
    for number in range(policy.missing_file_tries):
        if number and missing and is_current():
            time.sleep(policy.missing_file_wait)
        missing = set(call_for_chunks(missing, find_missing, timeout))
    return missing


def call_for_chunks(
    items: Collection[_T], call: Callable[[Iterable[_T]], Iterable[_R] | None], timeout: float
) -> list[_R]:
    """Call a function for chunks of items, in parallel, and return all results.

    Parameters
    ----------
    items : `~collections.abc.Collection`
        The items.
    call : `~collections.abc.Callable`
        Takes some items; returns results, or `None` if there are never any.
    timeout : `float`
        Seconds that all calls together may take.

    Raises
    ------
    UnansweredError
        If the calls take longer than the timeout.
    """
    chunks = [_Chunk(chunk) for chunk in chunk_iterable(items, _CHUNK)]
    return call_for_groups(chunks, call, timeout)


def call_for_groups(
    groups: Sequence[_Group],
    call: Callable[[_Group], Iterable[_R] | None],
    timeout: float,
) -> list[_R]:
    """Call a function for each group of items; otherwise as `call_for_chunks`.

    While all threads are still busy with calls that took too long before, this waits for one of
    them; the timeout begins after that.
    """
    if not groups:
        return []
    _THREADS.first_free().result()
    calls = [_THREADS.submit(call, group) for group in groups]
    try:
        _, unfinished = wait(calls, timeout, FIRST_EXCEPTION)
        # The first exception, if there is one.
        done = [each for each in calls if each not in unfinished]
        found = [result for each in done for result in each.result() or ()]
    finally:
        for each in calls:
            each.cancel()
    if unfinished:
        late = {
            each: group
            for each, group in zip(calls, groups, strict=True)
            if each in unfinished and not each.cancelled() and isinstance(group, _Chunk)
        }
        _late.update(late)
        items = {item for group in late.values() for item in group.taken}
        number = sum(map(len, groups))
        raise UnansweredError(
            f"the file store did not respond for {number} artifacts within {timeout:g} s", items
        )
    return found
