"""The artifacts of a window: those that are missing, and those of events that must wait alone."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from app.butler.away import LostStoreError, StoreError, unmounted
from app.butler.commit.division import attempt
from app.butler.commit.isolation import Turn
from app.butler.events.parsed import Artifact, ParsedEvent
from app.butler.failures import Failure, RetryableError
from app.butler.files.check import FileChecker
from app.butler.files.parallel import UnansweredError, call_for_groups, unanswered
from app.butler.files.staged_copy import copies_of, staged_file
from app.butler.files.staging import StagedArtifacts
from app.butler.outcome import Failed, Rejection
from app.butler.policy import ReplicaPolicy, WritePolicy
from app.butler.private.datastores import Datastores, FileStore
from models.causes import Cause

__all__ = ["ArtifactCheck"]

K = TypeVar("K", bound=Hashable)

_Missing: TypeAlias = list[str] | Failed
"""The artifacts that an event lacks, or the reason why it cannot be written."""

#: How long a window is divided before the events that are left get a turn of their own, in seconds.
_LONGEST = 20.0

#: Timeouts of a file store while a window is divided, and for a single event, in seconds: others
#: wait meanwhile.
_TIMEOUT = 4.0
_TIMEOUT_ALONE = 20.0


class ArtifactCheck:
    """Copies staged artifacts to the datastores, and rejects the events that lack artifacts.

    If that has failed before, the events whose artifacts make it fail are postponed, and the others
    are not held up (rule one-event-holds-up-no-other).

    Parameters
    ----------
    datastores : `Datastores`
        The datastores.
    policy : `WritePolicy`
        Which artifacts to check, and the timeouts.
    replica : `ReplicaPolicy`, optional
        If this is a downstream repository: how it gets its artifacts.
    """

    def __init__(
        self, datastores: Datastores, policy: WritePolicy, replica: ReplicaPolicy | None = None
    ) -> None:
        self._datastores = datastores
        self._timeout = policy.file_check_timeout
        self._is_replica = replica is not None
        self._source = None if replica is None else replica.staging or replica.referred_root
        self._files = FileChecker(datastores, policy)
        self._staged = StagedArtifacts(datastores, policy, replica)

    def check(
        self,
        events: Mapping[K, ParsedEvent | Failed],
        is_current: Callable[[], bool],
        turn: Turn,
    ) -> dict[K, ParsedEvent | Failed]:
        """Return the events, and those whose artifacts are missing or cannot be checked as failed.

        Parameters
        ----------
        events : `~collections.abc.Mapping` [`K`, `ParsedEvent` or `Failed`]
            The events of a window.
        is_current : `~collections.abc.Callable`
            Whether the window's partitions are still assigned to this worker.
        turn : `Turn`
            Which attempt this is.

        Raises
        ------
        AbandonedError
            If the window's partitions were revoked.
        RetryableError
            If the stores cannot be used; or, at the first attempt, if any artifact cannot be
            checked.
        """
        parsed = [event for event in events.values() if isinstance(event, ParsedEvent)]
        missing = self._check(parsed, is_current, turn)
        failing = [event for event in parsed if _is_failing(missing[event])]
        if failing and len(failing) == len(parsed):
            self._check_stores()
        return {
            key: event if isinstance(event, Failed) else self._verdict(event, missing[event])
            for key, event in events.items()
        }

    def remove_staged(self, events: Iterable[ParsedEvent]) -> None:
        """Remove the staged artifacts of events that are written; a failure is only logged."""
        self._staged.remove(events)

    def _check(
        self, events: Sequence[ParsedEvent], is_current: Callable[[], bool], turn: Turn
    ) -> dict[ParsedEvent, _Missing]:
        """Check groups of events, each divided if it fails, until the time is over."""
        longest = math.inf
        if turn.is_repeated:
            longest = _TIMEOUT_ALONE if turn.is_apart and len(events) == 1 else _TIMEOUT
        deadline = time.monotonic() + _LONGEST
        found: dict[ParsedEvent, _Missing] = {}
        groups = deque([events])
        while groups:
            group = groups.popleft()
            if turn.is_repeated and time.monotonic() > deadline:
                found |= dict.fromkeys(group, Failed.for_lack_of_time())
                continue
            try:
                if turn.is_repeated and (late := self._unanswered(group, unanswered())):
                    raise UnansweredError("the file store does not respond", late)
                missing = attempt(partial(self._missing, group, is_current, longest), is_current)
            except RetryableError as exc:
                if not turn.is_repeated:
                    raise
                missing = Failed.of(exc)
                if isinstance(exc, UnansweredError) and exc.items:
                    hanging = [each for each in group if exc.items & self._items(each)]
                    found |= dict.fromkeys(hanging, missing)
                    groups.append([event for event in group if event not in found])
                    continue
            if not isinstance(missing, Failed):
                found |= missing
            elif len(group) == 1:
                found[group[0]] = missing
            else:
                middle = len(group) // 2
                groups += [group[:middle], group[middle:]]
        return found

    def _missing(
        self, events: Sequence[ParsedEvent], is_current: Callable[[], bool], longest: float
    ) -> dict[ParsedEvent, _Missing]:
        staged = [event for event in events if event.staging]
        unstaged = [event for event in events if not event.staging]
        missing = {
            **self._staged.copy_to_datastores(staged, is_current, longest),
            **self._files.missing(unstaged, is_current, longest),
        }
        if any(missing.values()):
            self._check_source()
        return missing

    def _check_source(self) -> None:
        """Check that the source's datastore is mounted: otherwise every file seems to be gone.

        Raises
        ------
        StoreError
            If not.
        """
        source = self._source
        if source is None or not source.isLocal:
            return
        if not source.exists():
            raise LostStoreError(f"the source's datastore root {source} does not exist")
        if unmounted(Path(source.ospath)) is not None:
            raise LostStoreError(f"the source's datastore root {source} is empty; is it mounted?")

    def _unanswered(self, events: Sequence[ParsedEvent], hanging: set[Hashable]) -> set[Hashable]:
        """Return those items of events for which a call hangs already."""
        if not hanging:
            return set()
        return {item for event in events for item in self._items(event) & hanging}

    def _items(self, event: ParsedEvent) -> set[Hashable]:
        return {*copies_of(event)} if event.staging else {*self._files.locations(event)}

    def _check_stores(self) -> None:
        """Check that the datastores have what they had before: no event passes.

        Raises
        ------
        RetryableError
            If not.
        """

        def check(stores: Sequence[FileStore]) -> None:
            for store in stores:
                self._datastores.check_not_emptied(store)

        stores = [[store] for store in self._datastores.stores]
        call = partial(call_for_groups, stores, check, min(self._timeout, _TIMEOUT_ALONE))
        if isinstance(failed := attempt(call, lambda: True), Failed):
            raise StoreError(failed.rejection.reason, alarm=True)

    def _verdict(self, event: ParsedEvent, missing: _Missing) -> ParsedEvent | Failed:
        if isinstance(missing, Failed):
            return missing
        if not missing:
            return event
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        reason = f"{missing[0]} does not exist{more}"
        if not self._is_replica:
            return Failed(Rejection(Cause.MISSING_FILE, reason), Failure.REJECT)
        # A message has the datasets of many pods, and what is there need not wait.
        gone = {*missing}
        paths = {
            each.path for each in event.artifacts if not gone.isdisjoint(self._uris(event, each))
        }
        rejection = Rejection(Cause.MISSING_SOURCE_FILE, reason)
        return event.without(paths, rejection) or Failed(rejection, Failure.REJECT)

    def _uris(self, event: ParsedEvent, artifact: Artifact) -> list[str]:
        """Return the URIs by which an artifact of an event is said to be missing."""
        if event.staging is None:
            return [str(store.uri(path)) for store, path in artifact.recorded_paths.items()]
        return [
            str(staged_file((event.staging, store, path)))
            for store, path in artifact.recorded_paths.items()
        ]


def _is_failing(missing: _Missing) -> bool:
    return isinstance(missing, Failed) and missing.failure is Failure.RETRY
