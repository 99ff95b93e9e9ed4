"""Serialize what is written: the artifacts with their datasets, then the records they need.

The first needs no database, so it is done while the database writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from lsst.daf.butler import Butler, DataCoordinate, DatasetRef
from lsst.utils.iteration import chunk_iterable

from app.butler.events.parsed import Artifact, ParsedEvent
from app.butler.private.datastores import Datastores, FileStore
from app.butler.products.chain_positions import ChainPositions
from app.butler.products.needed_records import NeededRecords
from app.butler.products.related_keys import RecordId
from models.product import UniverseFields

__all__ = [
    "ProductContents",
    "ProductFiles",
    "Section",
    "SerializedEvents",
    "WrittenProducts",
]

#: How many datasets of several artifacts stay together; an artifact with more can be divided.
_DATASETS_AT_ONCE = 100


class ProductFiles(NamedTuple):
    """Artifacts with their datasets, which stay together in a message.

    Attributes
    ----------
    content : `bytes`
        The members of ``datasets``, serialized, with commas between them.
    data_ids : `list` [`lsst.daf.butler.DataCoordinate`]
        The data IDs of the datasets.
    dataset_types : `list` [`str`]
        The names of their dataset types.
    parts : `~collections.abc.Sequence` [`ProductFiles`]
        The parts of an artifact with many datasets, for messages of their own if it is too large
        for one; each is marked with ``is_part``.
    """

    content: bytes
    data_ids: list[DataCoordinate]
    dataset_types: list[str]
    parts: Sequence[ProductFiles] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """What was written into one run and one datastore.

    Attributes
    ----------
    run, datastore : `str`
        Their names.
    chains : `set` [`str`]
        The chains that the run was put into.
    files : `list` [`ProductFiles`]
        The artifacts.
    """

    run: str
    datastore: str
    chains: set[str] = field(default_factory=set)
    files: list[ProductFiles] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SerializedEvents:
    """The datasets of events, serialized.

    Attributes
    ----------
    events : `~collections.abc.Sequence` [`ParsedEvent`]
        The events.
    sections : `~collections.abc.Sequence` [`Section`]
        Their datasets, by run and datastore.
    dataset_types : `~collections.abc.Mapping` [`str`, `bytes`]
        The dataset types, serialized, by name.
    data_ids : `~collections.abc.Collection` [`lsst.daf.butler.DataCoordinate`]
        The data IDs of the datasets.
    """

    events: Sequence[ParsedEvent]
    sections: Sequence[Section]
    dataset_types: Mapping[str, bytes]
    data_ids: Collection[DataCoordinate]


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
    records : `~collections.abc.Mapping` [`RecordId`, `bytes`]
        These records, serialized.
    chain_positions : `~collections.abc.Mapping`
        The positions of runs in their chains, by (chain, run).
    """

    universe: UniverseFields
    sections: Sequence[Section]
    dataset_types: Mapping[str, bytes]
    needed: Mapping[DataCoordinate, tuple[RecordId, ...]]
    records: Mapping[RecordId, bytes]
    chain_positions: Mapping[tuple[str, str], int] = field(default_factory=dict)


class ProductContents:
    """Serializes what windows write.

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
        self._positions = ChainPositions(butler)

    def serialize(self, events: Sequence[ParsedEvent]) -> SerializedEvents:
        """Serialize the datasets of events, each once; any thread may do so at any time."""
        window = _Window(self._stores)
        for event in events:
            window.add(event)
        data_ids = {data_id for data_id, _ in window.data_ids.values()}
        return SerializedEvents(events, [*window.sections.values()], window.dataset_types, data_ids)

    def complete(self, serialized: SerializedEvents) -> WrittenProducts:
        """Add what the repository has: the events must be written, and their runs in their chains.

        One thread may do so at a time.
        """
        needed, records = self._needed.find(serialized.data_ids)
        sections = serialized.sections
        pairs = dict.fromkeys((chain, each.run) for each in sections for chain in each.chains)
        positions = self._positions.find(pairs)
        return WrittenProducts(
            self._universe, sections, serialized.dataset_types, needed, records, positions
        )


@dataclass(slots=True)
class _Together:
    """Artifacts that stay together, not serialized yet."""

    contents: list[dict[str, object]] = field(default_factory=list)
    data_ids: list[DataCoordinate] = field(default_factory=list)
    dataset_types: list[str] = field(default_factory=list)

    def serialized(self, parts: Sequence[ProductFiles] = ()) -> ProductFiles:
        content = orjson.dumps(self.contents)
        return ProductFiles(content[1:-1], self.data_ids, self.dataset_types, parts)


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
        together: dict[tuple[str, FileStore], _Together] = {}
        for artifact in event.artifacts:
            # As text, since Python compares and hashes UUIDs with code of its own.
            given = {str(ref.id): ref for ref in artifact.refs}
            if not self._seen.isdisjoint(given):
                given = {each: ref for each, ref in given.items() if each not in self._seen}
            self._seen.update(given)
            if not given:
                continue
            run, store = key = artifact.refs[0].run, self._store(artifact)
            if len(given) > _DATASETS_AT_ONCE:
                self._section(run, store).files.append(self._divisible(artifact, store, given))
                continue
            files = together.setdefault(key, _Together())
            if len(files.data_ids) + len(given) > _DATASETS_AT_ONCE:
                self._section(run, store).files.append(files.serialized())
                files = together[key] = _Together()
            self._add(files, artifact, store, given)
        for (run, store), files in together.items():
            section = self._section(run, store)
            section.chains.update(chains[run])
            section.files.append(files.serialized())

    def _divisible(
        self, artifact: Artifact, store: FileStore, datasets: Mapping[str, DatasetRef]
    ) -> ProductFiles:
        """Serialize an artifact with many datasets, as a whole and in parts."""
        whole = _Together()
        self._add(whole, artifact, store, datasets)
        parts = []
        for some in chunk_iterable(datasets.items(), _DATASETS_AT_ONCE):
            part = _Together()
            self._add(part, artifact, store, dict(some))
            part.contents[0]["is_part"] = True
            parts.append(part.serialized())
        return whole.serialized(parts)

    def _store(self, artifact: Artifact) -> FileStore:
        if len(artifact.recorded_paths) == 1:
            return next(iter(artifact.recorded_paths))
        return next(store for store in self._stores if store in artifact.recorded_paths)

    def _section(self, run: str, store: FileStore) -> Section:
        return self.sections.setdefault((run, store.name), Section(run, store.name))

    def _add(
        self,
        files: _Together,
        artifact: Artifact,
        store: FileStore,
        datasets: Mapping[str, DatasetRef],
    ) -> None:
        refs: dict[str, object] = {}
        path = artifact.recorded_paths[store]
        content: dict[str, object] = {"refs": refs, "path": path, "formatter": artifact.formatter}
        files.contents.append(content)
        for dataset_id, ref in datasets.items():
            kind, data_id = ref.datasetType, ref.dataId
            name = kind.name
            if name not in self.dataset_types:
                self.dataset_types[name] = kind.to_simple().model_dump_json().encode()
            if not refs and artifact.storage_class != kind.storageClass_name:
                content["storage_class"] = artifact.storage_class
            refs[dataset_id] = {
                "dataset_type_name": name,
                "run": ref.run,
                "data_id": self._serialized(data_id),
            }
            files.data_ids.append(data_id)
            files.dataset_types.append(name)
        if artifact.size >= 0:
            content["size"] = artifact.size
        if artifact.checksum is not None:
            content["checksum"] = artifact.checksum

    def _serialized(self, data_id: DataCoordinate) -> orjson.Fragment:
        known = self.data_ids.get(id(data_id))
        if known is None:
            serialized = orjson.Fragment(orjson.dumps(dict(data_id.required)))
            known = self.data_ids[id(data_id)] = data_id, serialized
        return known[1]
