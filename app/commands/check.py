"""``faust -A app check``: checks everything that a deployment needs; changes nothing."""

from __future__ import annotations

from typing import Any

from app import app
from app.commands.item_list import show_items
from app.commands.operator_command import reporting_errors
from app.operations.checks.all_items import all_items

__all__ = ["check"]


@app.command()
async def check(command: Any) -> None:
    """Check settings, brokers, access rules, topics, group, database, datastore and clock.

    One line an item: ok, wrong (with the remedy), or not checked.  The exit code is 1 if anything
    is wrong, and 2 if nothing is wrong but something could not be checked.  Probe files are written
    and removed again; nothing else is changed.
    """
    with reporting_errors(command) as output:
        items = await all_items(app.connection, app.settings)
        exit_code = show_items(output, items)
    if exit_code:
        raise SystemExit(exit_code)
