"""Serialize what was written: the artifacts with their datasets, and the records they need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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


class ProductFile(NamedTuple):
    """An artifact with datasets.

    Attributes
    ----------
    content : `dict`
        The member of ``datasets``; its data IDs are serialized.
    datasets : `list` [`lsst.daf.butler.DatasetRef`]
        The datasets.
    """

    content: dict[str, object]
    datasets: list[DatasetRef]


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
        self._seen: set[str] = set()
        self.sections: dict[tuple[str, str], Section] = {}
        self.dataset_types: dict[str, bytes] = {}
        #: By the identity of the data ID: an event's datasets share a few of these objects.
        self.data_ids: dict[int, tuple[DataCoordinate, orjson.Fragment]] = {}

    def add(self, event: ParsedEvent) -> None:
        """Add the datasets of an event that no event before it has brought."""
        chains: defaultdict[str, set[str]] = defaultdict(set)
        for chain, run in event.chains:
            chains[run].add(chain)
        sections: dict[tuple[str, FileStore], Section] = {}
        for artifact in event.artifacts:
            # As text, since Python compares and hashes UUIDs with code of its own.
            given = {str(ref.id): ref for ref in artifact.refs}
            if not self._seen.isdisjoint(given):
                given = {each: ref for each, ref in given.items() if each not in self._seen}
            self._seen.update(given)
            for part in _chunks(given):
                key = artifact.refs[0].run, self._store(artifact)
                if (section := sections.get(key)) is None:
                    section = sections[key] = self._section(*key)
                    section.chains.update(chains[section.run])
                content = self._content(artifact, artifact.recorded_paths[key[1]], part)
                section.files.append(ProductFile(content, [*part.values()]))

    def _store(self, artifact: Artifact) -> FileStore:
        if len(artifact.recorded_paths) == 1:
            return next(iter(artifact.recorded_paths))
        return next(store for store in self._stores if store in artifact.recorded_paths)

    def _section(self, run: str, store: FileStore) -> Section:
        return self.sections.setdefault((run, store.name), Section(run, store.name))

    def _content(
        self, artifact: Artifact, path: str, datasets: Mapping[str, DatasetRef]
    ) -> dict[str, object]:
        refs: dict[str, object] = {}
        content: dict[str, object] = {"refs": refs, "path": path, "formatter": artifact.formatter}
        for dataset_id, ref in datasets.items():
            kind = ref.datasetType
            name = kind.name
            if name not in self.dataset_types:
                self.dataset_types[name] = kind.to_simple().model_dump_json().encode()
            if not refs and artifact.storage_class != kind.storageClass_name:
                content["storage_class"] = artifact.storage_class
            refs[dataset_id] = {
                "dataset_type_name": name,
                "run": ref.run,
                "data_id": self._serialized(ref.dataId),
            }
        if artifact.size >= 0:
            content["size"] = artifact.size
        if artifact.checksum is not None:
            content["checksum"] = artifact.checksum
        return content

    def _serialized(self, data_id: DataCoordinate) -> orjson.Fragment:
        known = self.data_ids.get(id(data_id))
        if known is None:
            serialized = orjson.Fragment(orjson.dumps(dict(data_id.required)))
            known = self.data_ids[id(data_id)] = data_id, serialized
        return known[1]


def _chunks(datasets: dict[str, DatasetRef]) -> Iterator[dict[str, DatasetRef]]:
    """Divide the datasets of an artifact; those of one with few stay together."""
    if 0 < len(datasets) <= _DATASETS_AT_ONCE:
        yield datasets
    elif datasets:
        for part in chunk_iterable(datasets.items(), _DATASETS_AT_ONCE):
            yield dict(part)
