"""Which steps of a flush are failing, for how long, and whether a file store is why."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.butler.away import LostStoreError, is_of_store

__all__ = ["StepFailures"]


@dataclass(frozen=True, slots=True)
class _Failure:
    since: float
    is_of_store: bool
    is_store_lost: bool


@dataclass
class StepFailures:
    """The steps that have failed and are being retried; each lane has one at a time.

    Attributes
    ----------
    clock : `~collections.abc.Callable`
        Returns the time in seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _failing: dict[tuple[str, int], _Failure] = field(default_factory=dict)

    def failed(self, step: str, lane: int, error: BaseException) -> None:
        """Note an attempt that failed; the last one tells why the step is failing."""
        before = self._failing.get((step, lane))
        self._failing[step, lane] = _Failure(
            self.clock() if before is None else before.since,
            is_of_store(error),
            isinstance(error, LostStoreError),
        )

    def ended(self, step: str, lane: int) -> None:
        """Note that a step has ended: it succeeded, or its window was abandoned."""
        self._failing.pop((step, lane), None)

    def seconds(self, step: str) -> float:
        """Return for how many seconds a step has been failing; 0 if it is not failing."""
        starts = (failure.since for (name, _), failure in self._failing.items() if name == step)
        return max((self.clock() - since for since in starts), default=0.0)

    @property
    def is_store_away(self) -> bool:
        """Whether a step fails because of a file store."""
        return any(failure.is_of_store for failure in self._failing.values())

    @property
    def is_store_lost(self) -> bool:
        """Whether a step fails because a file store has lost all that it had."""
        return any(failure.is_store_lost for failure in self._failing.values())
