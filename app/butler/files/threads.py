"""A fixed number of threads for calls that may never return."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["DaemonThreads"]

_R = TypeVar("_R")


class DaemonThreads:
    """Threads that make calls; a call that hangs keeps its thread, and no other one replaces it.

    Unlike those of a `~concurrent.futures.ThreadPoolExecutor`, these threads do not keep the
    process from ending.

    Parameters
    ----------
    number : `int`
        Number of threads; they are started when they are needed, and kept.
    name : `str`
        The threads' name.
    """

    def __init__(self, number: int, name: str) -> None:
        self._number = number
        self._name = name
        self._started = 0
        self._lock = threading.Lock()
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def submit(self, call: Callable[..., _R], *arguments: object) -> Future[_R]:
        """Make a call in the next thread that is free.

        Parameters
        ----------
        call : `~collections.abc.Callable`
            The call.
        *arguments
            Its arguments.

        Returns
        -------
        result : `~concurrent.futures.Future`
            Its result or exception.  As long as it waits for a thread, it can be cancelled.
        """
        result: Future[_R] = Future()

        def run() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                result.set_result(call(*arguments))
            except BaseException as exc:  # noqa: BLE001 - whoever takes the result gets it
                result.set_exception(exc)

        self._calls.put(run)
        with self._lock:
            if self._started < self._number:
                self._started += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return result

    def first_free(self) -> Future[None]:
        """Return a future that is done once a thread is free."""
        return self.submit(lambda: None)

    def _work(self) -> None:
        while True:
            self._calls.get()()
