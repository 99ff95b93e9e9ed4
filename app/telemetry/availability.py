"""Watches whether Kafka and the database answer, also while there is nothing to write."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import structlog

from app.butler.descriptions import describe_with_type
from app.butler.logins import refusal_of, refused_login
from app.errors import OperatorError
from app.telemetry.status import Status

__all__ = [
    "AVAILABILITY_INTERVAL",
    "LOOK_TIMEOUT",
    "AvailabilityWatch",
    "in_daemon_thread",
]

logger = structlog.get_logger("butler_writer")

#: Seconds between two looks.  With the timeout it is less than the 10 s that the documents promise;
#: Faust logs a warning for a timer that takes longer than its interval.
AVAILABILITY_INTERVAL = 4.5

#: Seconds to wait for an answer.
LOOK_TIMEOUT = 4.0


class AvailabilityWatch:
    """Watches whether something that the worker depends on answers.

    Parameters
    ----------
    name : `str`
        What is watched, such as ``the database``.
    look : `~collections.abc.Callable`
        Returns an awaitable that fails if there is no answer.
    status : `Status`
        Shows what is unavailable.
    timeout : `float`
        Seconds to wait for an answer.
    """

    def __init__(
        self,
        name: str,
        look: Callable[[], Awaitable[None]],
        status: Status,
        timeout: float = LOOK_TIMEOUT,
    ) -> None:
        self._name = name
        self._look = look
        self._status = status
        self._timeout = timeout
        self._running: asyncio.Future[None] | None = None

    async def check(self) -> None:
        """Look once; a look that does not return is continued instead of started again."""
        if self._running is None:
            self._running = asyncio.ensure_future(self._look())
        done, _ = await asyncio.wait([self._running], timeout=self._timeout)
        if not done:
            self._report(f"no answer within {self._timeout:g} s", refusal=None)
            return
        error = self._running.exception()
        self._running = None
        if error is None:
            self._report(None, refusal=None)
            return
        login = refused_login(error)
        self._status.note_login(self._name, login)
        refusal = refusal_of(error) or (str(error) if isinstance(error, OperatorError) else None)
        self._report(describe_with_type(error), refusal=refusal)

    def _report(self, reason: str | None, *, refusal: str | None) -> None:
        """Show why something cannot be used; log it if it could be used before, or is refused now.

        A refusal is an answer: it says what is refused, and what to do about it.
        """
        before = self._status.unavailable.get(self._name)
        if refusal is not None:
            self._status.cannot_use(self._name, refusal)
            if before != refusal:
                logger.warning("refused", dependency=self._name, reason=refusal)
        elif reason is not None:
            self._status.cannot_use(self._name, f"{self._name} does not answer: {reason}")
            if before is None:
                logger.warning("no answer", dependency=self._name, reason=reason)
        elif before is not None:
            self._status.can_use(self._name)
            self._status.note_login(self._name, None)
            logger.info("answers again", dependency=self._name)
            self._status.pauses.end()


def in_daemon_thread(call: Callable[[], None]) -> asyncio.Future[None]:
    """Make a call in a thread of its own, which does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def finish(error: Exception | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def run() -> None:
        try:
            call()
        except Exception as exc:  # noqa: BLE001 - whoever awaits the future gets it
            error: Exception | None = exc
        else:
            error = None
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=run, name="look", daemon=True).start()
    return future
