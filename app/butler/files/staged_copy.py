"""A staged artifact: where it is, and where it is copied to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from lsst.resources import ResourcePath

from app.butler.events.parsed import ParsedEvent
from app.butler.private.datastores import FileStore
from models.errors import InvalidEventError

__all__ = ["Copy", "copies_of", "refuse_link", "staged_file"]

Copy: TypeAlias = tuple[ResourcePath, FileStore, str]
"""A staging root, a datastore, and a path in both."""


def copies_of(event: ParsedEvent) -> Iterable[Copy]:
    """Yield the copies of the artifacts of an event; none if it has no staging root."""
    if event.staging is None:
        return
    for artifact in event.artifacts:
        for store, path in artifact.recorded_paths.items():
            yield event.staging, store, path


def staged_file(copy: Copy) -> ResourcePath:
    """Return the staged file of a copy."""
    staging, _, path = copy
    return staging.join(path, forceDirectory=False)


def refuse_link(staging: ResourcePath, path: str, real: Callable[[str], str]) -> None:
    """Refuse a symbolic link: the file that it refers to must be neither copied nor removed.

    Raises
    ------
    InvalidEventError
        If the file, or a folder that contains it, is a link.
    """
    if not staging.isLocal:
        return
    given = str(Path(staging.ospath, path))
    expected = str(Path(real(staging.ospath), path))
    # Not Path.is_symlink: it raises if the name is too long.
    linked = os.path.islink(given)  # noqa: PTH114
    if linked or real(given.rpartition("/")[0]) != expected.rpartition("/")[0]:
        raise InvalidEventError(f"{given} is behind a symbolic link")
