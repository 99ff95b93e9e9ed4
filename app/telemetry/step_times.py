"""Measures how long the running steps of a flush have been running (rule stuck-workers-end).

A call that never returns raises no exception: a frozen database, a file store behind an address
that drops packets.  A step that runs for long is reported, and one that outlasts a limit is a
reason to end the process.  Nothing is lost, since what was not committed will be redelivered.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

__all__ = ["STEP_CHECK_INTERVAL", "StepTimes"]

logger = structlog.get_logger("butler_writer")

_Key: TypeAlias = tuple[str, int]
"""A step, and the lane in which it runs."""

#: Seconds between two checks.
STEP_CHECK_INTERVAL = 1.0

#: If two checks are further apart than this, in seconds, the process itself was frozen.  The steps
#: may have been, too, so that time does not count.
_FROZEN = 10.0


@dataclass
class StepTimes:
    """How long the running steps of flushes have been running; each lane has one at a time.

    Attributes
    ----------
    warning_seconds : `float`
        After this many seconds a step is reported.
    max_seconds : `float`
        After this many seconds a step is a reason to end the process.
    clock : `~collections.abc.Callable`
        Returns the time in seconds: the event loop's clock by default.
    """

    warning_seconds: float = math.inf
    max_seconds: float = math.inf
    clock: Callable[[], float] = time.monotonic
    _started: dict[_Key, float] = field(default_factory=dict)
    _reported: set[_Key] = field(default_factory=set)
    _checked_at: float | None = None

    @contextmanager
    def running(self, step: str, lane: int) -> Iterator[None]:
        """Measure one attempt of a step."""
        key = step, lane
        started = self._started[key] = self.clock()
        try:
            yield
        finally:
            started = self._started.pop(key)
            if key in self._reported:
                self._reported.remove(key)
                seconds = round(self.clock() - started, 1)
                logger.warning("a slow step has ended", step=step, lane=lane, seconds=seconds)

    def seconds(self, step: str) -> float:
        """Return for how many seconds a step has been running; 0 if it is not running.

        If several lanes are at the same step, that of the slowest counts.
        """
        started = (since for (name, _), since in self._started.items() if name == step)
        return max((self.clock() - since for since in started), default=0.0)

    @property
    def slow(self) -> dict[str, float]:
        """The steps that have been running for longer than `warning_seconds`, and for how long."""
        times = {step: self.seconds(step) for step, _ in self._started}
        return {step: seconds for step, seconds in times.items() if seconds > self.warning_seconds}

    def check(self) -> str | None:
        """Log the steps that have become slow; return why the process must end, if it must."""
        now = self.clock()
        if self._checked_at is not None and now - self._checked_at > _FROZEN:
            pause = now - self._checked_at
            self._started = {
                key: min(started + pause, now) for key, started in self._started.items()
            }
        self._checked_at = now
        for (step, lane), started in self._started.items():
            seconds = now - started
            if seconds > self.warning_seconds and (step, lane) not in self._reported:
                self._reported.add((step, lane))
                logger.warning("a step is slow", step=step, lane=lane, seconds=round(seconds, 1))
            if seconds > self.max_seconds:
                return f"{step} has been running for {seconds:.0f} s"
        return None
