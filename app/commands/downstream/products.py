"""``faust -A app products``: the product log, and what comes of it downstream."""

from __future__ import annotations

from typing import Any

import click
from faust.cli import argument

from app import app
from app.commands.downstream.waiting import show_waiting
from app.commands.operator_command import operator_command

__all__ = ["products"]


@app.command(argument("action", type=click.Choice(["waiting"])))
async def products(command: Any, action: str) -> None:
    """Show what waits for its release.

    waiting shows how many datasets of each type become available in which hour, which are held
    since the end of their observation is not known, and which types have no rule.  The exit code is
    1 if datasets are held or a type has no rule.  Nothing is changed.
    """
    with operator_command(command) as output:
        has_findings = await show_waiting(output)
    if has_findings:
        raise SystemExit(1)
