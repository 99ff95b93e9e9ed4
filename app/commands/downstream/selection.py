"""Options that select datasets, and the role that a command is for."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from faust.cli import option

from app import app
from app.butler.private.ingest_dates import Period
from app.commands.operator_command import CommandError
from app.settings import ReplicaKafkaSettings

__all__ = ["RUN", "SINCE", "UNTIL", "downstream_settings", "period_of"]

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


def downstream_settings() -> ReplicaKafkaSettings:
    """Return the topics of the downstream repository that the settings are about.

    Raises
    ------
    CommandError
        If they are about none.
    """
    if not isinstance(kafka := app.settings.kafka, ReplicaKafkaSettings):
        raise CommandError(
            "this command is for a downstream repository, and BUTLER_WRITER_ROLE=write; run it "
            "with the environment variables of the role replicate"
        )
    return kafka
