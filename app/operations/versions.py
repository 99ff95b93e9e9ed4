"""Which versions run here: this service's, and those of what it is built on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

from lsst.daf.butler import DimensionUniverse

from app.installation import own_version

__all__ = ["versions"]

_PACKAGES = (
    "faust-streaming",
    "aiokafka",
    "lsst-daf-butler",
    "lsst-resources",
    "sqlalchemy",
    "psycopg",
    "pydantic",
)


@cache
def versions() -> Mapping[str, str]:
    """Return the version of each part by its name, this service first.

    The dimension universe is that of a repository which this ``daf_butler`` makes; the one that the
    workers write to may have another.
    """
    universe = DimensionUniverse()
    return {
        "butler-writer": own_version(),
        **{name: version(name) for name in _PACKAGES},
        "dimension universe": f"{universe.namespace} {universe.version}",
        "Python": platform.python_version(),
    }
