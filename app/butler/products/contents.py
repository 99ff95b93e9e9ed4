"""Serialize what was written: the artifacts with their datasets, and the records they need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from lsst.daf.butler import Butler, DataCoordinate, DatasetRef
from lsst.utils.iteration import chunk_iterable

from app.butler.events.parsed import Artifact, ParsedEvent, RecordKey
from app.butler.private.datastores import Datastores, FileStore
from app.butler.products.needed_records import NeededRecords
from models.product import UniverseFields

__all__ = ["ProductContents", "ProductFile", "Section", "WrittenProducts"]

#: How many datasets of one artifact stay together; an artifact with more can be divided.
_DATASETS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class ProductFile:
    """An artifact with datasets, serialized.

    Attributes
    ----------
    content : `bytes`
        The member of ``datasets``.
    dataset_types : `frozenset` [`str`]
        The names of the dataset types of its datasets.
    data_ids : `tuple` [`lsst.daf.butler.DataCoordinate`, ...]
        Their data IDs.
    """

    content: bytes
    dataset_types: frozenset[str]
    data_ids: tuple[DataCoordinate, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """What was written into one run and one datastore.

    Attributes
    ----------
    run, datastore : `str`
        Their names.
    chains : `set` [`str`]
        The chains that the run was put into.
    files : `list` [`ProductFile`]
        The artifacts.
    """

    run: str
    datastore: str
    chains: set[str] = field(default_factory=set)
    files: list[ProductFile] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WrittenProducts:
    """What a window has written, with all that another repository needs.

    Attributes
    ----------
    universe : `UniverseFields`
        The repository's dimension universe.
    sections : `~collections.abc.Sequence` [`Section`]
        What was written, by run and datastore.
    dataset_types : `~collections.abc.Mapping` [`str`, `bytes`]
        The dataset types, serialized, by name.
    needed : `~collections.abc.Mapping`
        The keys of the dimension records that each data ID needs.
    records : `~collections.abc.Mapping` [`RecordKey`, `bytes`]
        These records, serialized.
    """

    universe: UniverseFields
    sections: Sequence[Section]
    dataset_types: Mapping[str, bytes]
    needed: Mapping[DataCoordinate, tuple[RecordKey, ...]]
    records: Mapping[RecordKey, bytes]


class ProductContents:
    """Serializes what windows have written; it may be used by one thread at a time.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    datastores : `Datastores`
        Its datastores; where several accept a dataset, the first one counts.
    """

    def __init__(self, butler: Butler, datastores: Datastores) -> None:
        universe = butler.dimensions
        self._universe = UniverseFields(namespace=universe.namespace, version=universe.version)
        self._stores = datastores.stores
        self._needed = NeededRecords(butler)

    def of(self, events: Iterable[ParsedEvent]) -> WrittenProducts:
        """Serialize the datasets of events, each once; the events must be written."""
        window = _Window(self._stores)
        for event in events:
            window.add(event)
        needed, records = self._needed.find(data_id for data_id, _ in window.data_ids.values())
        sections = [*window.sections.values()]
        return WrittenProducts(self._universe, sections, window.dataset_types, needed, records)


class _Window:
    """The datasets of a window; what they have in common is serialized once."""

    def __init__(self, stores: Sequence[FileStore]) -> None:
        self._stores = stores
        self._seen: set[UUID] = set()
        self.sections: dict[tuple[str, str], Section] = {}
        self.dataset_types: dict[str, bytes] = {}
        #: By the identity of the data ID: an event's datasets share a few of these objects.
        self.data_ids: dict[int, tuple[DataCoordinate, orjson.Fragment]] = {}

    def add(self, event: ParsedEvent) -> None:
        """Add the datasets of an event that no event before it has brought."""
        chains: defaultdict[str, set[str]] = defaultdict(set)
        for chain, run in event.chains:
            chains[run].add(chain)
        for artifact in event.artifacts:
            new = {ref.id: ref for ref in artifact.refs}
            for dataset_id in new.keys() & self._seen:
                del new[dataset_id]
            self._seen |= new.keys()
            store = next(store for store in self._stores if store in artifact.recorded_paths)
            for part in chunk_iterable(new.items(), _DATASETS_AT_ONCE):
                section = self._section(part[0][1].run, store.name)
                section.chains.update(chains[section.run])
                section.files.append(self._file(artifact, artifact.recorded_paths[store], part))

    def _section(self, run: str, datastore: str) -> Section:
        return self.sections.setdefault((run, datastore), Section(run, datastore))

    def _file(
        self, artifact: Artifact, path: str, refs: Sequence[tuple[UUID, DatasetRef]]
    ) -> ProductFile:
        data_ids = []
        content: dict[str, Any] = {"refs": {}, "path": path, "formatter": artifact.formatter}
        for dataset_id, ref in refs:
            kind = ref.datasetType
            if kind.name not in self.dataset_types:
                self.dataset_types[kind.name] = kind.to_simple().model_dump_json().encode()
            data_id, serialized = self._data_id(ref.dataId)
            data_ids.append(data_id)
            content["refs"][str(dataset_id)] = {
                "dataset_type_name": kind.name,
                "run": ref.run,
                "data_id": serialized,
            }
        if artifact.size >= 0:
            content["size"] = artifact.size
        if artifact.checksum is not None:
            content["checksum"] = artifact.checksum
        if artifact.storage_class != refs[0][1].datasetType.storageClass_name:
            content["storage_class"] = artifact.storage_class
        types = frozenset(ref.datasetType.name for _, ref in refs)
        return ProductFile(orjson.dumps(content), types, tuple(data_ids))

    def _data_id(self, data_id: DataCoordinate) -> tuple[DataCoordinate, orjson.Fragment]:
        known = self.data_ids.get(id(data_id))
        if known is None:
            serialized = orjson.Fragment(orjson.dumps(dict(data_id.required)))
            known = self.data_ids[id(data_id)] = data_id, serialized
        return known
