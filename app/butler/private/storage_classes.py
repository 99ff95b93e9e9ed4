"""Tell whether the storage classes of two dataset types can be converted into each other."""

from __future__ import annotations

import builtins
from functools import cache

from lsst.daf.butler import DatasetType, StorageClass
from lsst.utils import doImportType

__all__ = ["are_convertible"]


def are_convertible(one: DatasetType, other: DatasetType) -> bool:
    """Tell whether two dataset types differ at most in storage classes that can be converted.

    ``Butler.ingest`` accepts such a dataset type instead of the registered one.  It imports the
    Python types to find out.  Here the names are compared first, since this service runs without
    most of the packages that define these types.

    Parameters
    ----------
    one, other : `lsst.daf.butler.DatasetType`
        The dataset types.
    """
    if (one.name, one.dimensions, one.isCalibration()) != (
        other.name,
        other.dimensions,
        other.isCalibration(),
    ):
        return False
    try:
        classes = one.storageClass, other.storageClass
    except KeyError:  # the repository does not define one of them
        return False
    return _converts(*classes) and _converts(*reversed(classes))


def _converts(to: StorageClass, given: StorageClass) -> bool:
    return any(_is_kind_of(given._pytypeName, name) for name in (to._pytypeName, *to.converters))


def _is_kind_of(name: str, base: str) -> bool:
    if name == base:
        return True
    loaded, loaded_base = _load(name), _load(base)
    return loaded is not None and loaded_base is not None and issubclass(loaded, loaded_base)


@cache
def _load(name: str) -> type | None:
    """Return a Python type that the repository's configuration names, if it can be imported."""
    found = getattr(builtins, name, None)
    try:
        found = found or doImportType(name)
    except Exception:  # noqa: BLE001 - whatever its modules raise
        return None
    return found if isinstance(found, type) else None
