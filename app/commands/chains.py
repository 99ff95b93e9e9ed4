"""``faust -A app chains``: lists, shows and rebuilds what the table ``chains`` has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click
from faust.cli import argument

from app import app
from app.commands.operator_command import CommandError, operator_command, read_only_butler
from app.commands.output import Output, utc
from app.operations.chains import rebuilt_chains, send_chains, stored_chains
from models.chains import ChainState

__all__ = ["chains"]


@app.command(
    argument("action", type=click.Choice(["list", "show", "resync"])),
    argument("names", nargs=-1),
)
async def chains(command: Any, action: str, names: tuple[str, ...]) -> None:
    """List or show what was written to each chain, or rebuild it from the Butler.

    resync sends the chains as the Butler has them to the worker that keeps the table, or to the
    next one that starts: the named chains, or all of the table and those that
    BUTLER_WRITER_CHAIN_PATTERN gives.  It is safe beside running workers.
    """
    with operator_command(command) as output:
        if action == "list" and names:
            raise CommandError("list takes no names; use show")
        if action == "show" and not names:
            raise CommandError("name the chains to show")
        kafka = app.settings.kafka
        stored = await stored_chains(app.connection, kafka)
        if action == "list":
            _list(output, stored.values())
        elif action == "show":
            _show(output, [_named(stored, name) for name in names])
        else:
            pattern = app.settings.write.chain_pattern
            rebuilt = rebuilt_chains(read_only_butler(), stored, pattern, names)
            _refuse_unknown(rebuilt, stored, names)
            await send_chains(app.connection, kafka, rebuilt)
            _list(output, rebuilt)
            output.line(
                f"sent {len(rebuilt)} chain updates; the worker that keeps the table applies them "
                "within seconds"
            )


def _named(stored: dict[str, ChainState], name: str) -> ChainState:
    if name not in stored:
        raise CommandError(
            f"the table has no chain {name!r}; see faust -A app chains list, or add it with "
            f"faust -A app chains resync {name}"
        )
    return stored[name]


def _refuse_unknown(
    rebuilt: Iterable[ChainState], stored: dict[str, ChainState], names: tuple[str, ...]
) -> None:
    for chain in rebuilt:
        if chain.chain in names and not chain.runs and chain.chain not in stored:
            raise CommandError(f"neither the Butler nor the table has a chain {chain.chain!r}")


def _list(output: Output, found: Iterable[ChainState]) -> None:
    rows = [
        {
            "chain": chain.chain,
            "runs": len(chain.runs),
            "datasets": sum(run.datasets for run in chain.runs),
            "events": sum(run.events for run in chain.runs),
            "first_write": min(
                (each.first_write for each in chain.runs if each.first_write), default=None
            ),
            "last_write": max((run.last_write for run in chain.runs), default=None),
        }
        for chain in found
    ]
    _print(output, rows)
    output.document(rows)


def _show(output: Output, found: Iterable[ChainState]) -> None:
    rows = [{"chain": chain.chain, **run.asdict()} for chain in found for run in chain.runs]
    _print(output, rows)
    output.document(rows)


def _print(output: Output, rows: list[dict[str, Any]]) -> None:
    if not rows:
        output.line("the table has no chain")
        return
    cells = [
        [utc(value) if name.endswith("_write") else value for name, value in row.items()]
        for row in rows
    ]
    output.table([name.replace("_", " ") for name in rows[0]], cells)
