"""Serialize the files of a window with their datasets, as the product log has them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import orjson
from lsst.daf.butler import DataCoordinate, DatasetRef, DatasetType
from lsst.utils.iteration import chunk_iterable

from app.butler.events.parsed import Artifact, ParsedEvent
from app.butler.private.dataset_ids import id_text
from app.butler.private.datastores import FileStore

__all__ = ["KnownTypes", "ProductFiles", "Section", "WindowFiles"]

_Dataset: TypeAlias = tuple[str, DatasetRef]
"""A dataset, with its id as text."""

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


class _Kind(NamedTuple):
    """A dataset type in a run, and how each dataset of it starts, serialized."""

    dataset_type: DatasetType
    name: str
    storage_class: str
    start: str


class KnownTypes:
    """Serializes dataset types; each is kept as long as it stays the same."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[DatasetType, bytes]] = {}

    def serialized(self, kind: DatasetType) -> bytes:
        """Return a dataset type as in an event."""
        known = self._known.get(kind.name)
        if known is None or (known[0] is not kind and known[0] != kind):
            known = kind, kind.to_simple().model_dump_json().encode()
            self._known[kind.name] = known
        return known[1]


@dataclass(slots=True)
class _Together:
    """Artifacts that stay together."""

    contents: list[str] = field(default_factory=list)
    data_ids: dict[int, DataCoordinate] = field(default_factory=dict)
    dataset_types: dict[str, None] = field(default_factory=dict)
    datasets: int = 0

    def serialized(self, parts: Sequence[ProductFiles] = ()) -> ProductFiles:
        content = ",".join(self.contents).encode()
        return ProductFiles(content, [*self.data_ids.values()], [*self.dataset_types], parts)


class WindowFiles:
    """The datasets of a window; what they have in common is serialized once.

    Their JSON is put together from texts: the write waits while this takes the interpreter.

    Parameters
    ----------
    stores : `~collections.abc.Sequence` [`FileStore`]
        The datastores; where several accept a dataset, the first one counts.
    known_types : `KnownTypes`
        Serializes dataset types.

    Attributes
    ----------
    sections : `dict`
        What was added, by run and datastore.
    dataset_types : `dict` [`str`, `bytes`]
        Its dataset types, serialized, by name.
    """

    def __init__(self, stores: Sequence[FileStore], known_types: KnownTypes) -> None:
        self._stores = stores
        self._known_types = known_types
        self._seen: set[str] = set()
        #: What repeats, such as the name of a formatter.
        self._texts: dict[str, str] = {}
        #: By the run, and by the identity of the dataset type.
        self._kinds: defaultdict[str, dict[int, _Kind]] = defaultdict(dict)
        self.sections: dict[tuple[str, str], Section] = {}
        self.dataset_types: dict[str, bytes] = {}
        #: By the identity of the data ID: an event's datasets share a few of these objects.
        self._data_ids: dict[int, tuple[DataCoordinate, str]] = {}

    def add(self, event: ParsedEvent) -> None:
        """Add the datasets of an event that no event before it has brought."""
        together: dict[tuple[str, FileStore], _Together] = {}
        for artifact in event.artifacts:
            if not (given := self._new_datasets(artifact)):
                continue
            run, store = key = artifact.refs[0].run, self._store(artifact)
            if (files := together.get(key)) is None:
                files = together[key] = _Together()
            if len(given) > _DATASETS_AT_ONCE:
                self._section(run, store).files.append(self._divisible(artifact, store, given))
                continue
            if files.datasets + len(given) > _DATASETS_AT_ONCE:
                self._section(run, store).files.append(files.serialized())
                files = together[key] = _Together()
            self._add(files, artifact, store, given)
        for (run, store), files in together.items():
            section = self._section(run, store)
            section.chains.update(chain for chain, its_run in event.chains if its_run == run)
            if files.datasets:
                section.files.append(files.serialized())

    @property
    def data_ids(self) -> Iterator[DataCoordinate]:
        """The data IDs of the datasets."""
        return (data_id for data_id, _ in self._data_ids.values())

    def _new_datasets(self, artifact: Artifact) -> list[_Dataset]:
        """Return the datasets of an artifact that were not added yet."""
        new: list[_Dataset] = []
        for ref in artifact.refs:
            # As text, since Python compares and hashes UUIDs with code of its own.
            dataset_id = id_text(ref)
            if dataset_id not in self._seen:
                self._seen.add(dataset_id)
                new.append((dataset_id, ref))
        return new

    def _divisible(
        self, artifact: Artifact, store: FileStore, datasets: Sequence[_Dataset]
    ) -> ProductFiles:
        """Serialize an artifact with many datasets, as a whole and in parts."""
        whole = _Together()
        self._add(whole, artifact, store, datasets)
        parts = []
        for some in chunk_iterable(datasets, _DATASETS_AT_ONCE):
            part = _Together()
            self._add(part, artifact, store, some, ',"is_part":true}')
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
        datasets: Sequence[_Dataset],
        end: str = "}",
    ) -> None:
        _, first = datasets[0]
        kinds = self._kinds[first.run]
        refs = []
        for dataset_id, ref in datasets:
            data_id = ref.dataId
            kind = kinds.get(id(ref.datasetType)) or self._new_kind(ref)
            _, values = self._data_ids.get(id(data_id)) or self._new_data_id(data_id)
            files.data_ids[id(data_id)] = data_id
            files.dataset_types[kind.name] = None
            refs.append(f'"{dataset_id}":{kind.start}{values}}}')
        formatter = self._texts.get(artifact.formatter) or self._new_text(artifact.formatter)
        more = ""
        if artifact.storage_class != kinds[id(first.datasetType)].storage_class:
            more = f',"storage_class":{_json(artifact.storage_class)}'
        if artifact.size >= 0:
            more += f',"size":{artifact.size}'
        if artifact.checksum is not None:
            more += f',"checksum":{_json(artifact.checksum)}'
        path = _json(artifact.recorded_paths[store])
        files.contents.append(
            f'{{"refs":{{{",".join(refs)}}},"path":{path},"formatter":{formatter}{more}{end}'
        )
        files.datasets += len(datasets)

    def _new_kind(self, ref: DatasetRef) -> _Kind:
        kind = ref.datasetType
        name = kind.name
        if name not in self.dataset_types:
            self.dataset_types[name] = self._known_types.serialized(kind)
        start = f'{{"dataset_type_name":{_json(name)},"run":{_json(ref.run)},"data_id":'
        new = self._kinds[ref.run][id(kind)] = _Kind(kind, name, kind.storageClass_name, start)
        return new

    def _new_data_id(self, data_id: DataCoordinate) -> tuple[DataCoordinate, str]:
        new = self._data_ids[id(data_id)] = data_id, _json(dict(data_id.required))
        return new

    def _new_text(self, text: str) -> str:
        new = self._texts[text] = _json(text)
        return new


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
