"""The root that artifacts are stored under: what it needs, and why it cannot be used."""

from __future__ import annotations

import os
import stat
from importlib import import_module
from pathlib import Path

from lsst.resources import ResourcePath

__all__ = ["open_root", "why_not_there"]

#: By scheme: the module that its root needs, and what to install for it.
_REQUIREMENTS = {
    "s3": ("boto3", "butler-writer-client[s3]"),
    "gs": ("google.cloud.storage", "lsst-resources[gs]"),
    "http": ("requests", "lsst-resources[https]"),
    "https": ("requests", "lsst-resources[https]"),
    "dav": ("urllib3", "lsst-resources[https]"),
    "davs": ("urllib3", "lsst-resources[https]"),
}


def open_root(root: str) -> ResourcePath:
    """Return the resource path of a root, without any access to it.

    Raises
    ------
    TypeError
        If it is no text.
    ValueError
        If it is empty, or nothing can be stored under such a URI.
    ModuleNotFoundError
        If a package for such a URI is not installed.
    """
    if not isinstance(root, str | os.PathLike | ResourcePath):
        raise TypeError(f"root={root!r}: give a path or a URI")
    if not str(root):
        raise ValueError("root='': give the root of the datastore or of the staging area")
    scheme = str(root).partition(":")[0].lower()
    module, package = _REQUIREMENTS.get(scheme, ("lsst.resources", "lsst-resources"))
    try:
        import_module(module)
        return ResourcePath(root, forceDirectory=True)
    except ImportError as exc:
        missing = exc.name if exc.name and not module.startswith(exc.name) else module
        raise ModuleNotFoundError(
            f"root={str(root)!r}: {scheme} needs {missing}, which is not installed: "
            f"pip install '{package}'",
            name=missing,
        ) from exc
    except NotImplementedError as exc:
        raise ValueError(f"root={str(root)!r}: nothing can be stored at {scheme}://") from exc


def why_not_there(root: ResourcePath) -> str | None:
    """Return why a local root cannot be used; `None` if it can, or if it is not local.

    Missing folders below the root are created, but not the root: a root that is missing is
    misspelt, or a volume that is not mounted.
    """
    if root.scheme != "file":
        return None
    try:
        mode = Path(root.ospath).stat().st_mode
    except FileNotFoundError:
        return "it does not exist; is it misspelt, or a volume that is not mounted?"
    except OSError as exc:
        return exc.strerror or type(exc).__name__
    return None if stat.S_ISDIR(mode) else "it is not a folder"
