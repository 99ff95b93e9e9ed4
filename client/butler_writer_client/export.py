"""Exports from a pod's own Butler; the only module that uses names of Butler that may change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import normpath

from lsst.daf.butler import Butler, DatasetRef
from lsst.resources import ResourcePath

__all__ = ["Artifact", "export_artifacts"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file and its datasets.

    Attributes
    ----------
    source : `lsst.resources.ResourcePath`
        Where the file is now.
    path : `str`
        Its path, relative to the root of a datastore.
    formatter : `str` or `None`
        Name of the formatter that reads it; `None` for the one that the central repository has
        for its dataset type.
    refs : `tuple` [`lsst.daf.butler.DatasetRef`]
        Its datasets, all of one run.

    Raises
    ------
    ValueError
        If ``path`` is not below the root.
    """

    source: ResourcePath
    path: str
    formatter: str | None
    refs: tuple[DatasetRef, ...]

    def __post_init__(self) -> None:
        is_below = normpath(self.path) != "." and ".." not in self.path.split("/")
        if not is_below or _is_absolute(self.path):
            raise ValueError(f"path={self.path!r}: it must be below the root of the datastore")


def export_artifacts(butler: Butler, datasets: Sequence[DatasetRef]) -> list[Artifact]:
    """Find the artifacts of some datasets.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The pod's own Butler.
    datasets : `~collections.abc.Sequence` [`lsst.daf.butler.DatasetRef`]
        Datasets of this Butler.

    Returns
    -------
    artifacts : `list` [`Artifact`]
        Each file once.

    Raises
    ------
    FileNotFoundError
        If the Butler does not have the file of one of them.
    NotImplementedError
        If one of them is in several files.
    ValueError
        If one of them is a part of a file, or in a file outside the Butler's datastore.
    """
    sources = {ref.id: uris.primaryURI for ref, uris in butler.get_many_uris(datasets).items()}
    exported: dict[tuple[str, str], Artifact] = {}
    # There is no public method that returns path and formatter.
    for file in butler._datastore.export(datasets, transfer=None):
        fields = file.to_simple()
        for ref in file.refs:
            source = sources[ref.id]
            if source is None or source.fragment:
                raise ValueError(f"{ref} is only a part of the file {source}")
            if _is_absolute(fields.path):
                raise ValueError(f"{ref} is in {source}, outside the pod's datastore")
            before = exported.get((fields.path, ref.run))
            refs = (*before.refs, ref) if before else (ref,)
            exported[fields.path, ref.run] = Artifact(source, fields.path, fields.formatter, refs)
    return list(exported.values())


def _is_absolute(path: str) -> bool:
    """Return whether a path names a location of its own, wherever the root is."""
    return ResourcePath(path, forceAbsolute=False, forceDirectory=False).isabs()
