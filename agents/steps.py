"""Retries a step of a flush until it succeeds or the window's partitions are revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from app.butler.failures import AbandonedError, RetryableError
from app.kafka.errors import KafkaError
from app.parts import Parts
from app.telemetry.flush_reports import Step

__all__ = ["in_thread", "until_done"]

T = TypeVar("T")

#: First wait between two attempts of a step, in seconds (doubled each time, with jitter).
FIRST_WAIT = 0.2


async def until_done(
    step: Step,
    call: Callable[[], Awaitable[None]],
    parts: Parts,
    is_current: Callable[[], bool],
) -> None:
    """Repeat a step until it succeeds.

    Parameters
    ----------
    step : `Step`
        The step, for the reports.
    call : `~collections.abc.Callable`
        Performs the step; it may be called again after any failure.
    parts : `Parts`
        Has the reports, and the longest wait between two attempts.
    is_current : `~collections.abc.Callable`
        Tells whether the window's partitions are still ours.

    Raises
    ------
    AbandonedError
        If the window's partitions were revoked.
    """

    def is_retried(error: BaseException) -> bool:
        return isinstance(error, Exception) and not isinstance(error, AbandonedError)

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            parts.reports.failed(
                step,
                error,
                attempt=state.attempt_number,
                wait=state.upcoming_sleep,
                is_expected=isinstance(error, RetryableError | KafkaError | OSError),
            )

    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(is_retried),
            wait=wait_random_exponential(FIRST_WAIT, max=parts.retry_wait_max),
            before_sleep=report,
            sleep=parts.reports.pause,
            reraise=True,
        ):
            with attempt:
                if not is_current():
                    raise AbandonedError
                with parts.reports.timing(step):
                    await call()
    finally:
        parts.reports.ended(step)


async def in_thread(thread: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    """Run a call in a thread that has a Butler of its own (rule bounded-database-calls)."""
    return await asyncio.get_running_loop().run_in_executor(thread, call)
