"""Whether a repository has only the parts that the bulk insert is tested with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lsst.daf.butler import Butler

__all__ = ["uncovered_parts"]

#: What the parity test covers; with anything else, the public path is taken.
_COVERED = {
    "attributes": "DefaultButlerAttributeManager",
    "dimensions": "StaticDimensionRecordStorageManager",
    "collections": "SynthIntKeyCollectionManager",
    "datasets": "ByDimensionsDatasetRecordStorageManagerUUID",
    "opaque": "ByNameOpaqueTableStorageManager",
    "datastores": "MonolithicDatastoreRegistryBridgeManager",
    "obscore": "NoneType",
}


def uncovered_parts(butler: Butler) -> list[str]:
    """Return the parts of a repository that `RecordsPath` is not known to be right for."""
    managers: Any = butler._registry._managers  # type: ignore[attr-defined]
    found = {name: type(getattr(managers, name)).__name__ for name in _COVERED}
    kinds = {type(part).__name__ for part in _flattened(butler._datastore)}
    return [
        f"{name} manager {found[name]}" for name in _COVERED if found[name] != _COVERED[name]
    ] + [f"datastore {kind}" for kind in sorted(kinds - {"FileDatastore", "InMemoryDatastore"})]


def _flattened(datastore: Any) -> Iterator[Any]:
    for child in getattr(datastore, "datastores", None) or [datastore]:
        yield from [child] if child is datastore else _flattened(child)
