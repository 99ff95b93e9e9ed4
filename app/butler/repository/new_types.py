"""How many dataset types events may add to a repository: each may need a table, for ever."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from models.causes import Cause
from models.errors import NotAllowedError

__all__ = ["NewTypes"]

_HOUR = 3600.0


class NewTypes:
    """Counts the dataset types that were registered within the last hour; thread-safe.

    Parameters
    ----------
    most : `int`
        How many may be.
    clock : `~collections.abc.Callable`, optional
        Returns the time in seconds, from any start.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._times: deque[float] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def registering(self, names: Sequence[str]) -> Iterator[None]:
        """Count some dataset types while they are registered; none if that fails.

        Raises
        ------
        NotAllowedError
            If they would be too many.
        """
        now = self._clock()
        with self._lock:
            while self._times and self._times[0] <= now - _HOUR:
                self._times.popleft()
            left = self._most - len(self._times)
            if names and len(names) > left:
                raise NotAllowedError(
                    Cause.DATASET_TYPE_NOT_ALLOWED,
                    f"the event brings {len(names)} new dataset types, such as {names[0]!r}, and "
                    f"{max(left, 0)} more may be registered within the hour; register them in the "
                    "repository, or raise BUTLER_WRITER_NEW_DATASET_TYPES, then replay",
                )
            self._times.extend([now] * len(names))
        try:
            yield
        except BaseException:
            with self._lock:
                for _ in names:
                    with suppress(ValueError):
                        self._times.remove(now)
            raise
