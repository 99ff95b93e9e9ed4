"""Options that select datasets, and the role that a command is for."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from faust.cli import option

from app import app
from app.butler.private.ingest_dates import Period
from app.commands.operator_command import CommandError

__all__ = ["RUN", "SINCE", "UNTIL", "period_of", "require_downstream"]

RUN = option(
    "--run",
    "runs",
    multiple=True,
    help="Only this run, or the runs of this chain; * stands for any text.  May be given again.",
)
SINCE = option(
    "--since",
    type=click.DateTime(),
    help="Only datasets that came into the repository at or after this time, UTC.",
)
UNTIL = option(
    "--until",
    type=click.DateTime(),
    help="Only datasets that came into the repository before this time, UTC.",
)


def period_of(since: datetime | None, until: datetime | None = None) -> Period:
    """Return the period between two times that are given without a time zone."""
    return Period(*(time and time.replace(tzinfo=UTC) for time in (since, until)))


def require_downstream() -> None:
    """Check that the settings are those of a downstream repository.

    Raises
    ------
    CommandError
        If they are not.
    """
    if not app.settings.downstream.is_replica:
        raise CommandError(
            "this command is for a downstream repository, and BUTLER_WRITER_ROLE=write; run it "
            "with the environment variables of the role replicate"
        )
