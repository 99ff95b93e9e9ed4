"""Staged artifacts: brought home before the transaction, removed from staging after it.

Killed at any point, nothing is lost: until the commit the staged files are there, from then on the
final ones.  What is delivered again finds either.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import structlog
from lsst.resources import ResourcePath

from app.butler.division import Failed
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import Failure, RetryableError
from app.butler.files.check import of_all, still_absent
from app.butler.files.copying import bring_home
from app.butler.outcome import Rejection
from app.butler.paths import address
from app.butler.policy import WritePolicy
from app.butler.private.datastores import Datastores, FileStore
from app.butler.repository.connection import RepositoryError
from models.errors import InvalidEventError

__all__ = ["StagedArtifacts"]

_Move: TypeAlias = tuple[ResourcePath, FileStore, str]
"""A staging root, a datastore, and a path in both."""

logger = structlog.get_logger("butler_writer")


class StagedArtifacts:
    """Brings the staged artifacts of a window's events home: in parallel, bounded in time.

    Parameters
    ----------
    datastores : `Datastores`
        Where they belong.
    policy : `WritePolicy`
        Where they may come from.

    Raises
    ------
    RepositoryError
        If a staging root and a datastore are not apart: to remove a staged file could then be to
        remove a dataset.
    """

    def __init__(self, datastores: Datastores, policy: WritePolicy) -> None:
        self._datastores = datastores
        self._policy = policy
        self._home: set[_Move] = set()
        for staging in map(address, policy.staging_roots):
            for root in (address(store.root) for store in datastores.stores):
                if staging.startswith(root) or root.startswith(staging):
                    raise RepositoryError(
                        f"the staging root {staging} and the datastore root {root} are not apart"
                    )

    def bring_home(
        self, events: Sequence[ParsedEvent], wanted: Callable[[], bool]
    ) -> list[list[str] | Failed]:
        """Copy the artifacts of staged events to every datastore that takes them.

        Parameters
        ----------
        events : `~collections.abc.Sequence` [`ParsedEvent`]
            The events, each with a staging root.
        wanted : `~collections.abc.Callable`
            Whether there is still reason to wait.

        Returns
        -------
        missing : `list`
            Of each event, the artifacts that are neither staged nor at their places; or why it can
            never be written: an artifact is behind a link, or another file is at its place.

        Raises
        ------
        RetryableError
            If the stores do not answer in time, or are not mounted.
        OSError
            If a store cannot be used.
        """
        if not events:
            return []
        self._datastores.check_mounted()  # or the files would go into an empty mount point
        moves = [list(self._moves(event)) for event in events]
        wanting = {move for of_event in moves for move in of_event}
        self._home &= wanting  # as a try that failed has left it
        refused: dict[_Move, InvalidEventError] = {}
        absent = still_absent(
            wanting - self._home,
            partial(self._left_of, refused=refused, real=cache(os.path.realpath)),
            self._policy,
            self._policy.staging_timeout,
            wanted,
        )
        if absent:
            self._check_mounted()
        self._home.clear()
        return [_found(of_event, absent, refused) for of_event in moves]

    def remove(self, events: Iterable[ParsedEvent]) -> None:
        """Remove the staged artifacts of events that are written; what fails is logged only.

        On disk, the folder of an event of its own goes too, with those inside, as far as they are
        empty: of a hundred thousand events a night, they would be millions.

        Parameters
        ----------
        events : `~collections.abc.Iterable` [`ParsedEvent`]
            Any events; those that are not staged are passed over.
        """
        staged = {(staging, path) for event in events for staging, _, path in self._moves(event)}
        if not staged:
            return
        folders = {
            (staging, folder)
            for staging, path in staged
            if staging.isLocal and staging not in self._policy.staging_roots
            for folder in PurePosixPath(path).parents
        }
        try:
            failed = of_all(staged, _remove, self._policy.staging_timeout)
            # The innermost first: level by level.
            for depth in sorted({len(folder.parts) for _, folder in folders}, reverse=True):
                level = [(root, folder) for root, folder in folders if len(folder.parts) == depth]
                of_all(level, _remove_folders, self._policy.staging_timeout)
        except Exception as exc:  # noqa: BLE001 - the events are written, whatever it is
            failed = [f"{type(exc).__name__}: {exc}"]
        if failed:
            logger.warning("staged files are left over", count=len(failed), first=failed[0])

    def _moves(self, event: ParsedEvent) -> Iterable[_Move]:
        if event.staging is None:
            return
        for artifact in event.artifacts:
            for store, path in artifact.places.items():
                yield event.staging, store, path

    def _left_of(
        self,
        moves: Iterable[_Move],
        refused: dict[_Move, InvalidEventError],
        real: Callable[[str], str],
    ) -> list[_Move]:
        """Bring some artifacts home; return those that are nowhere."""
        left = []
        for move in moves:
            staging, store, path = move
            try:
                _refuse_link(staging, path, real)
                if bring_home(staging, store.root, path):
                    self._home.add(move)
                else:
                    left.append(move)
            except InvalidEventError as exc:
                refused[move] = exc
        return left

    def _check_mounted(self) -> None:
        for root in self._policy.staging_roots:
            if root.isLocal and not root.exists():
                raise RetryableError(f"the staging root {root} is not there", alarm=True)


def _found(
    moves: Sequence[_Move], absent: Container[_Move], refused: Mapping[_Move, InvalidEventError]
) -> list[str] | Failed:
    """Return what an event lacks, or why it can never be written."""
    for move in moves:
        if move in refused:
            return Failed(Rejection.of(refused[move]), Failure.POISON)
    return [
        str(_place(staging, path))
        for staging, store, path in moves
        if (staging, store, path) in absent
    ]


def _place(staging: ResourcePath, path: str) -> ResourcePath:
    return staging.join(path, forceDirectory=False)


def _refuse_link(staging: ResourcePath, path: str, real: Callable[[str], str]) -> None:
    """Refuse a link that leads elsewhere: what is there is not to be copied, and removed.

    Raises
    ------
    InvalidEventError
        If the file, or a folder that it is in, is one.
    """
    if not staging.isLocal:
        return
    place = str(Path(staging.ospath, path))
    expected = str(Path(real(staging.ospath), path))
    # Not Path.is_symlink: of a name that is too long it says so.
    linked = os.path.islink(place)  # noqa: PTH114
    if linked or real(place.rpartition("/")[0]) != expected.rpartition("/")[0]:
        raise InvalidEventError(f"{place} is behind a link")


def _remove(staged: Iterable[tuple[ResourcePath, str]]) -> list[str]:
    """Remove some staged artifacts; return what could not be removed."""
    failed: list[str] = []
    elsewhere: list[ResourcePath] = []
    for staging, path in staged:
        if not staging.isLocal:
            elsewhere.append(_place(staging, path))
            continue
        try:
            Path(staging.ospath, path).unlink(missing_ok=True)
        except OSError as exc:
            failed.append(f"{exc.filename}: {exc}")
    done = ResourcePath.mremove(elsewhere, do_raise=False)
    return failed + [
        f"{uri}: {result.exception}" for uri, result in done.items() if result.exception
    ]


def _remove_folders(folders: Iterable[tuple[ResourcePath, PurePosixPath]]) -> list[str]:
    for staging, folder in folders:
        with suppress(OSError):  # something is left in it
            Path(staging.ospath, folder).rmdir()
    return []
