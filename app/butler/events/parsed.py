"""An event as the Butler write sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from lsst.daf.butler import DatasetRef, DimensionRecord
from lsst.resources import ResourcePath

if TYPE_CHECKING:
    from app.butler.private.datastores import FileStore

__all__ = ["Artifact", "ParsedEvent", "RawRecord", "RecordKey"]

RecordKey: TypeAlias = tuple[str, tuple[int | str, ...]]
"""Identity of a dimension record: its element, and the values of its required dimensions."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A dimension record of a window.

    Attributes
    ----------
    digest : `int`
        Fingerprint of the serialized record.
    record : `lsst.daf.butler.DimensionRecord`
        The record itself.
    """

    digest: int
    record: DimensionRecord


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of an event, and the datasets that it holds.

    Attributes
    ----------
    path : `str`
        As the event gives it.
    formatter : `str`
        Name of the formatter that reads it; never imported.
    refs : `list` [`lsst.daf.butler.DatasetRef`]
        Its datasets, not expanded.
    places : `dict` [`FileStore`, `str`]
        The datastores that take it, each with its path as the records have it.
    size : `int`
        In bytes; -1: not given.
    checksum : `str` or `None`
        Its BLAKE2b, as hexadecimal digits.
    """

    path: str
    formatter: str
    refs: list[DatasetRef]
    places: Mapping[FileStore, str]
    size: int = -1
    checksum: str | None = None


@dataclass(frozen=True, slots=True)
class ParsedEvent:
    """An event as the Butler write sees it.

    Attributes
    ----------
    records : `dict` [`RecordKey`, `RawRecord`]
        Its dimension records.
    artifacts : `list` [`Artifact`]
        Its files.
    chains : `tuple` [`tuple` [`str`, `str`]]
        The (chain, run) pairs that it belongs to.
    staging : `lsst.resources.ResourcePath` or `None`
        The staging root that its files wait under, as far as they are not at their places yet.
    """

    records: Mapping[RecordKey, RawRecord]
    artifacts: list[Artifact]
    chains: tuple[tuple[str, str], ...]
    staging: ResourcePath | None = None

    @property
    def refs(self) -> Iterator[DatasetRef]:
        """Its datasets."""
        return (ref for artifact in self.artifacts for ref in artifact.refs)
