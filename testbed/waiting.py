"""Waits for a condition."""

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
    """Call a condition until it returns a true value, and return that value.

    Parameters
    ----------
    condition
        Called at least once, and once more after the timeout.
    timeout
        Seconds to wait.
    message
        What is waited for. A function is called only after the timeout, so it can report the
        state.
    interval
        Seconds between two calls.

    Raises
    ------
    TimeoutError
        The condition was still false after the timeout.
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
