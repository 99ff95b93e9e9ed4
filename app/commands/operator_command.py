"""Shared by all commands: one-line errors with exit code 2, a read-only Butler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from lsst.daf.butler import Butler
from sqlalchemy.exc import DBAPIError

from app import app
from app.butler.descriptions import describe, describe_with_type
from app.butler.failures import RetryableError
from app.butler.repository.connection import open_butler
from app.commands.output import Output
from app.errors import OperatorError, exit_with
from app.kafka.errors import KafkaError

__all__ = [
    "CommandError",
    "operator_command",
    "read_only_butler",
    "reporting_errors",
    "require_events",
]


class CommandError(OperatorError):
    """The arguments of a command select nothing, or do not go together."""


@contextmanager
def operator_command(command: Any) -> Iterator[Output]:
    """Check the settings, and report errors as `reporting_errors` does."""
    with reporting_errors(command) as output:
        app.settings.require_connections()
        yield output


def require_events() -> None:
    """Check that the input topic has the events of pods, which some commands read.

    Raises
    ------
    CommandError
        If the settings are those of a downstream repository.
    """
    if app.settings.downstream.is_replica:
        raise CommandError(
            "this command reads the events of pods, and BUTLER_WRITER_ROLE=replicate; run it with "
            "the environment variables of the role write"
        )


@contextmanager
def reporting_errors(command: Any) -> Iterator[Output]:
    """Report an error in one line, with exit code 2.

    With ``faust --json``, the error is also a document on standard output.

    Parameters
    ----------
    command : `faust.cli.base.Command`
        The command.

    Yields
    ------
    output : `Output`
        Prints what the command has found.

    Raises
    ------
    SystemExit
        If the command cannot do its work: a setting is missing, or Kafka, the database or the store
        cannot be reached or refuses a request.
    """
    output = Output(command)
    try:
        yield output
    except (OperatorError, RetryableError) as exc:
        reason = describe(exc)
    except KafkaError as exc:
        reason = f"Kafka at {app.settings.kafka.cluster}: {describe(exc)}"
    except (DBAPIError, BotoCoreError, ClientError, OSError) as exc:
        reason = describe_with_type(exc)
    else:
        return
    output.document({"error": reason})
    exit_with(reason, 2)


def read_only_butler() -> Butler:
    """Open the repository that the settings name, read-only."""
    write = app.settings.write
    return open_butler(write.repository or "", write, writeable=False)
