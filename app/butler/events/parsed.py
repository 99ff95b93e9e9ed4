"""A parsed event: the dataset refs, artifacts and dimension records that it brings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from lsst.daf.butler import DatasetId, DatasetRef, DatasetType, DimensionRecord
from lsst.resources import ResourcePath

from app.butler.outcome import Rejection
from app.butler.private.datastores import FileStore

__all__ = [
    "Artifact",
    "ParsedEvent",
    "ParsedRecord",
    "RecordKey",
    "record_key",
    "with_storage_class",
]

RecordKey: TypeAlias = tuple[str, str]
"""Identity of a dimension record: its element, and the text of its required dimensions' values.

Whoever sends an event chooses the values.  Python's hash of a text cannot be foreseen, unlike that
of a number or of a UUID: with chosen numbers, all keys of a dictionary could have the same hash.
"""


@dataclass(frozen=True, slots=True)
class ParsedRecord:
    """A dimension record of a window.

    Attributes
    ----------
    digest : `int`
        Hash of the serialized record.
    record : `lsst.daf.butler.DimensionRecord`
        The record.
    """

    digest: int
    record: DimensionRecord


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of an event, and the datasets that it contains.

    Attributes
    ----------
    path : `str`
        The path as the event gives it.
    formatter : `str`
        Name of the formatter that reads the file; never imported.
    refs : `list` [`lsst.daf.butler.DatasetRef`]
        Its datasets, not expanded.
    recorded_paths : `~collections.abc.Mapping` [`FileStore`, `str`]
        The datastores that accept it, each with the path that its datastore records contain.
    size : `int`
        In bytes; -1 if the event does not give it.
    checksum : `str` or `None`
        BLAKE2b in hexadecimal digits; `None` if the event does not give it.
    storage_class : `str`
        Name of the storage class that its first dataset was written with; it may differ from the
        registered one.
    """

    path: str
    formatter: str
    refs: list[DatasetRef]
    recorded_paths: Mapping[FileStore, str]
    size: int = -1
    checksum: str | None = None
    storage_class: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ParsedEvent:
    """A parsed event; two are equal only if they are the same object.

    Attributes
    ----------
    records : `~collections.abc.Mapping` [`RecordKey`, `ParsedRecord`]
        Its dimension records.
    artifacts : `list` [`Artifact`]
        Its files.
    chains : `tuple` [`tuple` [`str`, `str`]]
        Its (chain, run) pairs.
    staging : `lsst.resources.ResourcePath` or `None`
        The staging root that holds those of its files that are not in the datastore yet.
    is_divisible : `bool`
        Whether its artifacts may be written without each other: it is a message of a product log.
    left_out : `Rejection` or `None`
        Why some of its artifacts were left out; `None`: none was.
    replaces_records : `bool`
        Whether stored dimension records get the values that it has of them.
    """

    records: Mapping[RecordKey, ParsedRecord]
    artifacts: list[Artifact]
    chains: tuple[tuple[str, str], ...]
    staging: ResourcePath | None = None
    is_divisible: bool = False
    left_out: Rejection | None = None
    replaces_records: bool = False

    def only(self, dataset_ids: Collection[DatasetId]) -> ParsedEvent:
        """Return the event with only some of its datasets: what is left of it was left out."""
        chosen = {dataset_id.bytes for dataset_id in dataset_ids}
        parts = (
            replace(artifact, refs=[ref for ref in artifact.refs if ref.id.bytes in chosen])
            for artifact in self.artifacts
        )
        return replace(self, artifacts=[part for part in parts if part.refs])

    def without(self, paths: Collection[str], why: Rejection) -> ParsedEvent | None:
        """Return the event without some artifacts; `None` if they cannot be left out.

        Parameters
        ----------
        paths : `~collections.abc.Collection` [`str`]
            The paths of the artifacts.
        why : `Rejection`
            Why they are left out.
        """
        left = [each for each in self.artifacts if each.path not in paths]
        if not self.is_divisible or not 0 < len(left) < len(self.artifacts):
            return None
        first = self.left_out
        both = why if first is None else replace(first, reason=f"{first.reason}; {why.reason}")
        return replace(self, artifacts=left, left_out=both)

    @property
    def refs(self) -> Iterator[DatasetRef]:
        """Its datasets."""
        return (ref for artifact in self.artifacts for ref in artifact.refs)


def record_key(element: str, values: tuple[int | str, ...]) -> RecordKey:
    """Return the key of a dimension record."""
    return element, repr(values)


def with_storage_class(ref: DatasetRef, name: str) -> DatasetRef:
    """Return a dataset with another storage class; no Python type is imported, unlike in Butler."""
    kind = ref.datasetType
    if kind.storageClass_name == name:
        return ref
    other = DatasetType(kind.name, kind.dimensions, name, isCalibration=kind.isCalibration())
    return DatasetRef(other, ref.dataId, ref.run, id=ref.id, conform=False)
