"""Staged artifacts: copied to the datastore before the transaction, removed after the commit.

Nothing is lost if the worker is killed at any time: until the commit the staged files exist, and
from the commit on the final ones do.  A redelivered event finds one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath

import structlog
from botocore.exceptions import ClientError
from lsst.resources import ResourcePath

from app.butler.away import LostStoreError
from app.butler.descriptions import describe_with_type
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import Failure
from app.butler.files.beneath import LocalFile
from app.butler.files.copying import copy_to_datastore
from app.butler.files.denial import (
    alarm_about_listing,
    check_denied,
    is_denied,
    missing_or_unreadable,
)
from app.butler.files.parallel import call_for_chunks, missing_after_retries
from app.butler.files.removal import remove_empty_folders, remove_files
from app.butler.files.staged_copy import Copy, copies_of, source_in, staged_file
from app.butler.outcome import Failed, Rejection
from app.butler.paths import address
from app.butler.policy import ReplicaPolicy, Transfer, WritePolicy
from app.butler.private.datastores import Datastores, FileStore
from app.errors import OperatorError
from models.errors import InvalidEventError

__all__ = ["StagedArtifacts"]

logger = structlog.get_logger("butler_writer")


class StagedArtifacts:
    """Copies the staged artifacts of a window to the datastores, in parallel, within a timeout.

    Parameters
    ----------
    datastores : `Datastores`
        The datastores of the repository.
    policy : `WritePolicy`
        The allowed staging roots, and the timeout.
    replica : `ReplicaPolicy`, optional
        If this is a downstream repository: the staging root is the source's datastore, whose files
        stay, and in which links are followed.

    Raises
    ------
    OperatorError
        If a staging root and a datastore overlap: removing a staged file could then remove a
        dataset.
    """

    def __init__(
        self, datastores: Datastores, policy: WritePolicy, replica: ReplicaPolicy | None = None
    ) -> None:
        self._datastores = datastores
        self._is_replica = replica is not None
        self._links = replica is not None and replica.transfer is Transfer.HARDLINK
        self._policy = policy
        self._name = "source root" if self._is_replica else "staging root"
        self._copied: set[Copy] = set()
        #: Those in the datastore whose staged file is missing, or not readable.
        self._without_source: set[Copy] = set()
        for staging in map(address, policy.staging_roots):
            for root in (address(store.root) for store in datastores.stores):
                if staging.startswith(root) or root.startswith(staging):
                    raise OperatorError(
                        f"the {self._name} {staging} and the datastore root {root} overlap"
                    )

    def copy_to_datastores(
        self,
        events: Sequence[ParsedEvent],
        is_current: Callable[[], bool],
        longest: float = math.inf,
    ) -> dict[ParsedEvent, list[str] | Failed]:
        """Copy the artifacts of staged events to every datastore that accepts them.

        Parameters
        ----------
        events : `~collections.abc.Sequence` [`ParsedEvent`]
            Events with a staging root.
        is_current : `~collections.abc.Callable`
            Whether the window's partitions are still assigned to this worker.
        longest : `float`, optional
            A shorter timeout than that of the policy, in seconds.

        Returns
        -------
        missing : `dict` [`ParsedEvent`, `list` [`str`] or `Failed`]
            The URIs of the artifacts of each event that are neither staged nor in the datastore; or
            why the event can never be written: an artifact is behind a link, or another file is at
            its final location.

        Raises
        ------
        RetryableError
            If the stores do not respond in time, or are not mounted.
        OSError
            If a store cannot be used.
        """
        if not events:
            return {}
        self._datastores.check_mounted()  # or the files would go into an empty mount point
        copies = {event: list(copies_of(event)) for event in events}
        required = {copy for of_event in copies.values() for copy in of_event}
        self._copied &= required  # what a previous attempt has left
        refused: dict[Copy, InvalidEventError] = {}
        denied: set[Copy] = set()
        find_missing = partial(self._copy, refused=refused, denied=denied)
        missing = missing_after_retries(
            required - self._copied,
            find_missing,
            self._policy,
            min(self._policy.staging_timeout, longest),
            is_current,
        )
        if missing:
            self._check_mounted()
        read = required - missing - refused.keys() - self._without_source
        self._copied.clear()
        self._without_source.clear()
        if denied:
            missing -= self._found_after_denial(denied, read, find_missing)
        return {
            event: _missing_of(of_event, missing, refused, denied)
            for event, of_event in copies.items()
        }

    def remove(self, events: Iterable[ParsedEvent]) -> None:
        """Remove the staged artifacts of events that are written; a failure is only logged.

        On disk, empty folders below the staging root are removed too if the event has a folder of
        its own: with a hundred thousand events a night, there would soon be millions.

        Parameters
        ----------
        events : `~collections.abc.Iterable` [`ParsedEvent`]
            Any events; those without a staging root are skipped.
        """
        if self._is_replica:
            return
        staged = {(staging, path) for event in events for staging, _, path in copies_of(event)}
        if not staged:
            return
        roots = self._policy.staging_roots
        files = [source_in(*each, roots) for each in staged]
        folders = {
            LocalFile(file.root, str(folder))
            for (staging, path), file in zip(staged, files, strict=True)
            if isinstance(file, LocalFile) and staging not in roots
            # Those of the event, from its own staging root on.
            for folder in [*PurePosixPath(file.path).parents][: path.count("/") + 1]
        }
        timeout = self._policy.staging_timeout
        try:
            failed = call_for_chunks(files, remove_files, timeout)
            # The innermost folders first, level by level.
            for depth in sorted({folder.path.count("/") for folder in folders}, reverse=True):
                level = [folder for folder in folders if folder.path.count("/") == depth]
                call_for_chunks(level, remove_empty_folders, timeout)
        except Exception as exc:  # noqa: BLE001 - the events are written, whatever happens here
            failed = [describe_with_type(exc)]
        if failed:
            logger.warning("staged files could not be removed", count=len(failed), first=failed[0])

    def _copy(
        self,
        copies: Iterable[Copy],
        refused: dict[Copy, InvalidEventError],
        denied: set[Copy],
    ) -> list[Copy]:
        """Copy some artifacts; return those that are neither staged nor in the datastore.

        Those among them whose staged file S3 denies access to are added to ``denied``.
        """
        missing = []
        for copy in copies:
            staging, store, path = copy
            denied.discard(copy)
            exists = partial(self._exists, store, path)
            try:
                source = source_in(
                    staging, path, self._policy.staging_roots, follows_links=self._is_replica
                )
                if copy_to_datastore(source, store.root, path, exists, links=self._links):
                    self._copied.add(copy)
                else:
                    missing.append(copy)
            except InvalidEventError as exc:
                refused[copy] = exc
            except (PermissionError, ClientError):
                if not is_denied(staged_file(copy)):
                    raise
                if exists(store.uri(path)):  # a staged file is removed once its event is written
                    self._without_source.add(copy)
                else:
                    denied.add(copy)
                    missing.append(copy)
        return missing

    def _exists(self, store: FileStore, path: str, uri: ResourcePath) -> bool:
        """Tell whether a file is in a datastore; if S3 denies access to it, it is not.

        Raises
        ------
        RetryableError
            If S3 denies access to a file that the store had before, too.
        """
        try:
            return uri.exists()
        except PermissionError:
            self._datastores.check_access(store, path)
            return False

    def _found_after_denial(
        self,
        denied: set[Copy],
        read: Iterable[Copy],
        find_missing: Callable[[Iterable[Copy]], list[Copy]],
    ) -> set[Copy]:
        """Return those artifacts that can be copied now, of those to which S3 denied access.

        Raises
        ------
        RetryableError
            If no other file of the same staging root can be read.
        """
        known = self._first_staged(read)
        first = self._first_staged(denied)
        before = {*denied}
        # Before and after the look: access may be granted again at any moment.
        check_denied(first, known)
        still_missing = {*call_for_chunks(before, find_missing, self._policy.staging_timeout)}
        check_denied(first, known)
        for root, file in self._first_staged(denied).items():
            alarm_about_listing(root, file, len(denied))
        return before - still_missing

    def _first_staged(self, copies: Iterable[Copy]) -> dict[ResourcePath, ResourcePath]:
        """Return a staged file for each of the allowed staging roots that have any."""
        return {
            root: file
            for file in sorted(map(staged_file, copies), key=str, reverse=True)
            for root in self._policy.staging_roots
            if not root.isLocal and address(file).startswith(address(root))
        }

    def _check_mounted(self) -> None:
        for root in self._policy.staging_roots:
            if root.isLocal and not root.exists():
                raise LostStoreError(f"the {self._name} {root} does not exist")


def _missing_of(
    copies: Sequence[Copy],
    missing: Container[Copy],
    refused: Mapping[Copy, InvalidEventError],
    denied: Container[Copy],
) -> list[str] | Failed:
    """Return the artifacts that an event lacks, or why it can never be written."""
    for copy in copies:
        if copy in refused:
            return Failed(Rejection.of(refused[copy]), Failure.REJECT)
    uris = [str(staged_file(copy)) for copy in copies if copy in missing]
    doubtful = next((str(staged_file(copy)) for copy in copies if copy in denied), None)
    return uris if doubtful is None else missing_or_unreadable(uris, doubtful)
