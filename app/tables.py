"""The tables: ``chains``, for people, and ``waiting``, what a downstream repository will get."""

from __future__ import annotations

from typing import Any

from app import app
from app.kafka.checks.required import TABLE_PARTITIONS
from models.chains import ChainState

__all__ = ["chains", "waiting"]

chains = app.Table(
    "chains",
    key_type=str,
    value_type=ChainState,
    partitions=TABLE_PARTITIONS,
    help="Each chain's runs, newest first, and what was written to them.",
)
"""For operators, pages and tools; no write depends on it."""

waiting: Any = None
"""Only if the worker fills a downstream repository; its state is in its changelog."""

if app.settings.downstream.is_replica:
    waiting = app.Table(
        "waiting",
        key_type=str,
        partitions=TABLE_PARTITIONS,
        help="Messages of the product log with datasets that are not due, and when they are.",
    )
