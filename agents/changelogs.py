"""Reads the changelog of a table after a rebalance, until that succeeds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from app.butler.descriptions import describe_with_type
from app.kafka.changelog import Changelog

__all__ = ["read_until_done"]

logger = structlog.get_logger("butler_writer")

#: Seconds between two attempts to read the changelog.
RETRY_SECONDS = 5.0


async def read_until_done(
    changelog: Changelog, what: str, is_current: Callable[[], bool]
) -> Mapping[bytes, bytes | None] | None:
    """Return what a changelog has, or `None` once the next rebalance has begun.

    Parameters
    ----------
    changelog : `Changelog`
        The changelog.
    what : `str`
        What it is of, for the log.
    is_current : `~collections.abc.Callable`
        Returns `False` once the next rebalance has begun.
    """
    while is_current():
        try:
            latest = await changelog.read_beside()
        except Exception as exc:  # noqa: BLE001 - rule optional-parts-stop-nothing
            logger.warning(f"the changelog of {what} cannot be read", error=describe_with_type(exc))
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return latest if is_current() else None
    return None
