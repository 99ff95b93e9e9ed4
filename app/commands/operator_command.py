"""Shared by all commands: one-line errors with exit code 2, a read-only Butler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from botocore.exceptions import BotoCoreError, ClientError
from lsst.daf.butler import Butler
from sqlalchemy.exc import DBAPIError

from app import app
from app.butler.failures import RetryableError, describe
from app.butler.repository.connection import open_butler
from app.errors import OperatorError, exit_with
from app.kafka.errors import KafkaError

__all__ = ["operator_command", "read_only_butler", "refuse"]


@contextmanager
def operator_command() -> Iterator[None]:
    """Check the settings; report an error in one line, with exit code 2.

    Raises
    ------
    SystemExit
        If the command cannot do its work: a setting is missing, or Kafka, the database or the store
        cannot be reached or refuses a request.
    """
    try:
        app.settings.require_connections()
        yield
    except (OperatorError, RetryableError) as exc:
        reason = str(exc) or repr(exc)
    except KafkaError as exc:
        reason = f"Kafka at {app.settings.kafka.cluster}: {str(exc) or repr(exc)}"
    except (DBAPIError, BotoCoreError, ClientError, OSError) as exc:
        reason = f"{type(exc).__name__}: {describe(exc)}"
    else:
        return
    refuse(reason)


def refuse(reason: str) -> NoReturn:
    """End the command with an error in one line, and exit code 2."""
    exit_with(reason, 2)


def read_only_butler() -> Butler:
    """Open the repository that the settings name, read-only."""
    write = app.settings.write
    return open_butler(write.repository or "", write, writeable=False)
