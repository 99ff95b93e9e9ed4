"""The steps of a flush: each is tried until it goes through, or until the window is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from app import app
from app.butler.failures import AbandonedError, RetryableError
from app.intake.received import Received
from app.intake.windows import Window
from app.telemetry import metrics

__all__ = ["in_thread", "until_done"]

T = TypeVar("T")

logger = structlog.get_logger("butler_writer")

#: First wait between two tries of a step, in seconds (doubled each time, with jitter).
FIRST_WAIT = 0.2


async def until_done(window: Window[Received], step: Callable[[], Awaitable[None]]) -> None:
    """Try a step until it goes through.

    Raises
    ------
    AbandonedError
        If the window's partitions were revoked.
    """
    name = step.__name__

    def is_retried(error: BaseException) -> bool:
        return isinstance(error, Exception) and not isinstance(error, AbandonedError)

    def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is None:
            return
        app.status.failed(name, error)
        metrics.RETRIES.labels(name).inc()
        logger.warning(
            "step failed, will be tried again",
            step=name,
            attempt=state.attempt_number,
            wait=round(state.upcoming_sleep, 2),
            error=f"{type(error).__name__}: {error}",
            alarm=getattr(error, "alarm", False),
            exc_info=None if isinstance(error, RetryableError) else error,
        )

    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(is_retried),
            wait=wait_random_exponential(FIRST_WAIT, max=app.settings.write.retry_wait_max),
            before_sleep=note,
            reraise=True,
        ):
            with attempt:
                if not app.intake.is_current(window):
                    raise AbandonedError
                with metrics.FLUSH_SECONDS.labels(name).time():
                    await step()
    finally:
        app.status.over(name)


async def in_thread(thread: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    """Run a call in a thread that has a Butler of its own (rule bounded-database-calls)."""
    return await asyncio.get_running_loop().run_in_executor(thread, call)
