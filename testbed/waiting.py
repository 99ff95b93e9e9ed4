"""Waiting for a condition, instead of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["wait_until"]

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    timeout: float,
    message: str | Callable[[], str],
    interval: float = 0.05,
) -> T:
    """Call a condition until what it returns is true, and return that.

    Parameters
    ----------
    condition
        Called at least once, and once more after the time is up.
    timeout
        Seconds to wait.
    message
        What was waited for; a function is called only on failure, so it may look at the state.
    interval
        Seconds between two calls.

    Raises
    ------
    TimeoutError
        The condition was still false when the time was up.
    """
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() >= deadline
        if value := condition():
            return value
        if late:
            text = message() if callable(message) else message
            raise TimeoutError(f"not within {timeout:g} s: {text}")
        time.sleep(interval)
