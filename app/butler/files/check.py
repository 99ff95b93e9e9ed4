"""The file check: no dataset is written before its artifact exists."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import partial

import structlog

from app.butler.events.parsed import ParsedEvent
from app.butler.files.denial import alarm_about_listing, check_logins, missing_or_unreadable
from app.butler.files.large_folders import Location, large_folders, listed
from app.butler.files.parallel import call_for_chunks, call_for_groups, missing_after_retries
from app.butler.outcome import Failed
from app.butler.policy import FileCheck, WritePolicy
from app.butler.private.datastores import Datastores, FileStore

__all__ = ["FileChecker"]

logger = structlog.get_logger("butler_writer")


class FileChecker:
    """Checks that the artifacts of a window exist: all of them, in parallel, within a timeout.

    ``Butler.ingest`` checks only a sample (our measurement: one missing artifact among 303 was
    registered silently).

    Parameters
    ----------
    datastores : `Datastores`
        The datastores of the repository.
    policy : `WritePolicy`
        Which artifacts to check, and how long to wait for them.
    """

    def __init__(self, datastores: Datastores, policy: WritePolicy) -> None:
        self._datastores = datastores
        self._policy = policy

    def missing(
        self,
        events: Sequence[ParsedEvent],
        is_current: Callable[[], bool],
        longest: float = math.inf,
    ) -> dict[ParsedEvent, list[str] | Failed]:
        """Return the artifacts of each event that are missing after a few short waits.

        Parameters
        ----------
        events : `~collections.abc.Sequence` [`ParsedEvent`]
            The events.
        is_current : `~collections.abc.Callable`
            Whether the window's partitions are still assigned to this worker.
        longest : `float`, optional
            A shorter timeout than that of the policy, in seconds.

        Returns
        -------
        missing : `dict` [`ParsedEvent`, `list` [`str`] or `Failed`]
            The URIs of the missing artifacts of each event; or the failure of an event whose
            artifacts are missing or cannot be read, which S3 does not tell apart.

        Raises
        ------
        RetryableError
            If the store does not respond in time, is not mounted, has lost its files, or denies
            access to all files.
        OSError
            If the store cannot be used.
        """
        expected = {event: self.locations(event) for event in events}
        locations = {location for of_event in expected.values() for location in of_event}
        everything = set(locations)
        timeout = min(self._policy.file_check_timeout, longest)
        # An artifact that a listing does not contain is checked by itself.
        locations.difference_update(call_for_groups(large_folders(locations), listed, timeout))
        denied: set[Location] = set()
        find_missing = partial(_find_missing, denied=denied)
        missing = missing_after_retries(locations, find_missing, self._policy, timeout, is_current)
        if missing:
            self._datastores.check_mounted()
        for store, path in everything - missing:
            self._datastores.saw(store, path)
        if denied:
            check_logins({store.root for store, _ in denied})
            missing -= self._found_after_denial(denied, timeout)
        missing = self._confirmed(missing, find_missing, timeout)
        return {
            event: _missing_of([at for at in of_event if at in missing], denied)
            for event, of_event in expected.items()
        }

    def _found_after_denial(self, denied: set[Location], timeout: float) -> set[Location]:
        """Check that a store denies access to some files only, and look for these files again.

        Without the right ``s3:ListBucket``, S3 denies access to a file that does not exist.

        Returns
        -------
        found : `set`
            The files that exist now; they are taken out of ``denied``.

        Raises
        ------
        RetryableError
            If the store denies access to a file that it had before: no file is known to be missing.
        """
        before = set(denied)
        first = dict(sorted(denied, key=lambda at: at[1], reverse=True))  # of each store
        # Before and after the look: access may be granted again at any moment.
        self._check_access(first)
        still_missing = set(call_for_chunks(before, partial(_find_missing, denied=denied), timeout))
        self._check_access(first)
        for store, path in first.items():
            if (store, path) in denied:
                alarm_about_listing(store.root, store.uri(path), len(denied))
        return before - still_missing

    def _check_access(self, denied: Mapping[FileStore, str]) -> None:
        for store, path in denied.items():
            self._datastores.check_access(store, path)

    def _confirmed(
        self,
        missing: set[Location],
        find_missing: Callable[[Iterable[Location]], list[Location]],
        timeout: float,
    ) -> set[Location]:
        """Tell a store that has lost its files from missing files (rule fault-decided-by-evidence).

        A store may lose its files, or have them again, at any moment between two looks.

        Returns
        -------
        missing : `set`
            The files that are missing while the store has one that it had before.

        Raises
        ------
        RetryableError
            If a store has none of the artifacts that it had before.
        """
        stores = {store for store, _ in missing}
        self._check_stores(stores)
        missing = set(call_for_chunks(missing, find_missing, timeout))
        self._check_stores(stores)
        return missing

    def _check_stores(self, stores: Iterable[FileStore]) -> None:
        for store in stores:
            self._datastores.check_not_emptied(store)

    def locations(self, event: ParsedEvent) -> list[Location]:
        """Return the locations that are checked for an event."""
        if self._policy.file_check is FileCheck.NONE:
            return []
        sample = 1 if self._policy.file_check is FileCheck.SAMPLE else None
        return [
            location
            for artifact in event.artifacts[:sample]
            for location in artifact.recorded_paths.items()
        ]


def _find_missing(locations: Iterable[Location], denied: set[Location]) -> list[Location]:
    """Return the locations without a file that can be read, and note where S3 denies access."""
    # Not ``mexists``: it takes an error for a missing file, and so an unavailable store for empty.
    missing = []
    for location in locations:
        store, path = location
        denied.discard(location)
        try:
            if not store.exists(path):
                missing.append(location)
        except PermissionError:
            denied.add(location)
            missing.append(location)
    return missing


def _missing_of(missing: Sequence[Location], denied: Container[Location]) -> list[str] | Failed:
    """Return the artifacts that an event lacks, or why it is not known whether they exist."""
    uris = [str(store.uri(path)) for store, path in missing]
    doubtful = [uri for uri, at in zip(uris, missing, strict=True) if at in denied]
    if not doubtful:
        return uris
    return missing_or_unreadable(uris, doubtful[0])
