"""Fail-points of a worker, installed when its Python starts.

Python imports a module of this name by itself; a worker has this folder on its ``PYTHONPATH``.
``FAIL_POINT`` names a fail-point.  ``FAIL_POINT_MARK`` names a file that is created when the
process dies, so that it dies only once and not after every start.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faust.transport.consumer import Consumer
from lsst.daf.butler.direct_butler import DirectButler
from lsst.resources.file import FileResourcePath

from app.announce.product_log import ProductLog
from app.butler.commit.transaction import EventTransaction
from app.butler.insert.bulk_insert import BulkInsert

#: How often the process passes the fail-point before it dies there.
_PASSES = int(os.environ.get("FAIL_POINT_PASSES", "3"))
_MARK = Path(os.environ.get("FAIL_POINT_MARK", "/nonexistent"))
_passed = 0
_lock = threading.Lock()


def _die_here() -> None:
    global _passed  # noqa: PLW0603
    with _lock:  # no other thread may see the mark and go on before the process is dead
        _passed += 1
        if _passed > _PASSES and not _MARK.exists():
            _MARK.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def die_after_the_commit_of_shared_rows() -> None:
    """Die right after the shared rows of a window are committed, before its own transaction."""
    _before(BulkInsert, "remember_shared")


def die_after_the_database_commit() -> None:
    """Die right after a window's transaction is committed."""
    _after(EventTransaction, "write")


def die_before_the_database_commit() -> None:
    """Die when everything is written but the window's transaction is not committed."""
    _after(BulkInsert, "insert")


def die_before_a_copy() -> None:
    """Die when a copy of a staged file is about to get its final name."""
    _before(os, "link")


def die_before_the_announcement() -> None:
    """Die when the dataset list is about to be written."""
    _before(FileResourcePath, "write")


def die_before_the_product_log() -> None:
    """Die when a window is announced, and is about to be sent to the product log."""
    _before(ProductLog, "send")


def die_before_the_offset_commit() -> None:
    """Die when offsets are about to be committed: everything is done, but Kafka does not know."""
    _before(Consumer, "_commit_offsets")


def write_slowly() -> None:
    """Let every transaction of the Butler take some seconds."""
    transaction = DirectButler.transaction

    @contextmanager
    def slow(self: Any) -> Iterator[None]:
        with transaction(self):
            yield
            time.sleep(float(os.environ["SLOW_SECONDS"]))

    DirectButler.transaction = slow  # type: ignore[method-assign]


def _before(owner: Any, name: str) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        _die_here()
        return original(*args, **kwargs)

    setattr(owner, name, dying)


def _after(owner: Any, name: str) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        _die_here()
        return result

    setattr(owner, name, dying)


match os.environ.get("FAIL_POINT"):
    case "copy":
        die_before_a_copy()
    case "shared-rows":
        die_after_the_commit_of_shared_rows()
    case "database-write":
        die_before_the_database_commit()
    case "database-commit":
        die_after_the_database_commit()
    case "announcement":
        die_before_the_announcement()
    case "product-log":
        die_before_the_product_log()
    case "offset-commit":
        die_before_the_offset_commit()
    case "slow-database":
        write_slowly()
