"""Tell whether a repository has only parts that the bulk insert is tested with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lsst.daf.butler import Butler

__all__ = ["uncovered_parts"]

#: The parts that the parity test covers; a repository with any other is written with
#: ``Butler.ingest``.
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
    """Return the parts of a repository that the bulk insert is not tested with.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.

    Returns
    -------
    parts : `list` [`str`]
        One description each; empty if all parts are covered.
    """
    managers: Any = butler._registry._managers  # type: ignore[attr-defined]
    found = {name: type(getattr(managers, name)).__name__ for name in _COVERED}
    kinds = {type(part).__name__ for part in _flattened(butler._datastore)}
    return [
        f"{name} manager {found[name]}" for name in _COVERED if found[name] != _COVERED[name]
    ] + [f"datastore {kind}" for kind in sorted(kinds - {"FileDatastore", "InMemoryDatastore"})]


def _flattened(datastore: Any) -> Iterator[Any]:
    for child in getattr(datastore, "datastores", None) or [datastore]:
        yield from [child] if child is datastore else _flattened(child)
