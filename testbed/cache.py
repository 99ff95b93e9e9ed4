"""The folder in which downloaded servers are kept."""

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .availability import ServerUnavailableError

__all__ = ["cache_folder", "cached"]


def cache_folder() -> Path:
    """Return ``BUTLER_WRITER_CACHE``, by default ``${XDG_CACHE_HOME:-~/.cache}/butler-writer``."""
    if own := os.environ.get("BUTLER_WRITER_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "butler-writer"


def cached(name: str, fetch: Callable[[Path], Path]) -> Path:
    """Return a folder of the cache; the first call on a machine fetches it.

    It appears only when it is complete. If two processes need it at once, it is fetched once.

    Parameters
    ----------
    name
        Its name in the cache.
    fetch
        Called with an empty temporary folder; returns the folder below it that is to be kept.

    Raises
    ------
    ServerUnavailableError
        The cache cannot be written.
    """
    cache = cache_folder()
    kept = cache / name
    if kept.is_dir():
        return kept
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.is_dir():
                with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=cache) as folder:
                    fetch(Path(folder)).rename(kept)
    except OSError as error:
        raise ServerUnavailableError(
            f"cannot write the cache folder {cache} ({error.strerror}): set BUTLER_WRITER_CACHE"
        ) from None
    return kept
