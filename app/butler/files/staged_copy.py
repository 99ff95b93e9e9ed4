"""A staged artifact: where it is, and where it is copied to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeAlias

from lsst.resources import ResourcePath

from app.butler.events.parsed import ParsedEvent
from app.butler.files.beneath import LocalFile
from app.butler.private.datastores import FileStore

__all__ = ["Copy", "copies_of", "source_in", "staged_file"]

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


def source_in(
    staging: ResourcePath, path: str, roots: Iterable[ResourcePath], *, follows_links: bool = False
) -> LocalFile | ResourcePath:
    """Return a staged file, to be read or removed.

    Parameters
    ----------
    staging : `lsst.resources.ResourcePath`
        The staging root of an event: one of the allowed roots, or a folder inside one.
    path : `str`
        The path of the file in it.
    roots : `~collections.abc.Iterable` [`lsst.resources.ResourcePath`]
        The allowed roots.  Only they may be links.
    follows_links : `bool`, optional
        Whether links are followed wherever they lead: in the source of a downstream repository,
        which no pod writes to.
    """
    if not staging.isLocal:
        return staging.join(path, forceDirectory=False)
    folder = staging.ospath
    if follows_links:
        real = os.path.realpath(folder + path)
        return LocalFile("/", real.removeprefix("/"), may_have_other_names=True)
    root = next((r.ospath for r in roots if r.isLocal and folder.startswith(r.ospath)), folder)
    return LocalFile(root, folder[len(root) :] + path)
