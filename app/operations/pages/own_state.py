"""The state of this worker: the page ``/state``, which other workers read."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from app.installation import own_version
from app.machine import resident_bytes
from app.operations.pages.waiting import waiting_figures

if TYPE_CHECKING:
    from app.application import ButlerWriterApp

__all__ = ["own_pages", "own_state"]


def own_pages(app: ButlerWriterApp) -> str:
    """Return the address of this worker's pages, as it tells the other members of the group."""
    return str(app.conf.canonical_url).rstrip("/")


def own_state(app: ButlerWriterApp) -> dict[str, Any]:
    """Return the state of this worker as plain values."""
    intake, status = app.intake, app.status
    window = intake.windows.open
    quarter = time.time() - 900
    return {
        "version": _version(),
        **status.as_json(),
        "pages": own_pages(app),
        "memory_bytes": resident_bytes(),
        "epoch": intake.epoch,
        "open_window": window and {"events": len(window.arrivals), "bytes": window.bytes},
        "windows_in_flight": len(intake.in_flight),
        "bytes_held": intake.ledger.bytes_held,
        "max_bytes_held": intake.max_bytes_held,
        "events_in_windows": intake.events,
        "max_events_in_windows": intake.max_events,
        "postponed_events": intake.postponed,
        "bytes_ahead": intake.ahead.bytes,
        "max_bytes_ahead": intake.ahead.limit,
        "held_back_seconds": app.open_transactions.longest,
        "accepted_gaps": intake.ledger.accepted_gaps,
        "totals": status.activity.totals,
        "last_minute": status.activity.minute(),
        "events_last_quarter": status.activity.events_since(quarter),
        "dead_letters_last_quarter": status.activity.dead_letters_since(quarter),
        "dead_letters_last_hour": status.activity.dead_letters_since(time.time() - 3600),
        "partitions": _by_name(intake.ledger.state()),
        "oldest_pending": _by_name(intake.ledger.oldest_sent()),
        "waiting": None if status.waiting is None else waiting_figures(status.waiting),
    }


@cache
def _version() -> str:
    return own_version()


def _by_name(values: dict[tuple[str, int], Any]) -> dict[str, Any]:
    return {f"{topic}-{partition}": value for (topic, partition), value in values.items()}
