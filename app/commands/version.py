"""``faust -A app version``: which versions are installed here."""

from __future__ import annotations

from typing import Any

from app import app
from app.commands.operator_command import reporting_errors
from app.operations.versions import versions

__all__ = ["version"]


@app.command()
async def version(command: Any) -> None:
    """Show the version of the service, and of what it is built on.

    It needs no settings, and connects to nothing.
    """
    with reporting_errors(command) as output:
        output.table(("name", "version"), versions().items())
        output.document(versions())
