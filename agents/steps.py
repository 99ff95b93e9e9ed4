"""Retries a step of a flush until it succeeds or the window's partitions are revoked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from app.butler.failures import AbandonedError, RetryableError
from app.kafka.errors import KafkaError
from app.telemetry.flush_reports import FlushReports
from app.telemetry.labels import Step

__all__ = ["until_done"]

#: First wait between two attempts of a step, in seconds (doubled each time, with jitter).
FIRST_WAIT = 0.2


async def until_done(
    step: Step,
    call: Callable[[], Awaitable[None]],
    reports: FlushReports,
    longest_wait: float,
    is_current: Callable[[], bool],
) -> None:
    """Repeat a step until it succeeds.

    Parameters
    ----------
    step : `Step`
        The step, for the reports.
    call : `~collections.abc.Callable`
        Performs the step; it may be called again after any failure.
    reports : `FlushReports`
        Gets each failed attempt.
    longest_wait : `float`
        Longest wait between two attempts, in seconds.
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
            reports.failed(
                step,
                error,
                attempt=state.attempt_number,
                wait=state.upcoming_sleep,
                is_expected=isinstance(error, RetryableError | KafkaError | OSError),
            )

    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(is_retried),
            wait=wait_random_exponential(FIRST_WAIT, max=longest_wait),
            before_sleep=report,
            sleep=reports.pause,
            reraise=True,
        ):
            with attempt:
                if not is_current():
                    raise AbandonedError
                with reports.timing(step):
                    await call()
    finally:
        reports.ended(step)
