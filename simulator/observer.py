"""Queries the Butler to measure when an event's datasets appear there."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Self
from uuid import UUID

from lsst.daf.butler import Butler

__all__ = ["Observer"]

#: Seconds between two queries: the resolution of the latencies.
_INTERVAL = 0.1


class Observer:
    """Queries the Butler for one dataset of each event until it is there.

    Parameters
    ----------
    root : `pathlib.Path`
        The repository.
    """

    def __init__(self, root: Path) -> None:
        self._butler = Butler.from_config(str(root))
        self._lock = Lock()
        self._pending: dict[UUID, float] = {}
        self._over = Event()
        self._thread = Thread(target=self._watch, name="observer", daemon=True)
        self.latencies: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def expect(self, dataset_id: UUID) -> None:
        """Start to wait for a dataset whose event has just been sent."""
        with self._lock:
            self._pending[dataset_id] = time.monotonic()

    @property
    def pending(self) -> int:
        """Number of events that have not appeared in the Butler yet."""
        return len(self._pending)

    def latency(self, fraction: float) -> float:
        """Return a quantile of the latencies, in seconds; ``nan`` if there are none yet."""
        ordered = sorted(self.latencies)
        return (
            ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]
            if ordered
            else float("nan")
        )

    def _watch(self) -> None:
        while not self._over.wait(_INTERVAL):
            with self._lock:
                pending = dict(self._pending)
            if pending:
                found = self._butler.get_many_datasets(pending)
                now = time.monotonic()
                self.latencies += [now - pending[ref.id] for ref in found]
                with self._lock:
                    for ref in found:
                        del self._pending[ref.id]
