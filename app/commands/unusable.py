"""Reports why the application cannot be made, before Faust has parsed the command line."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import NoReturn

from app.commands.item_list import show_items
from app.commands.output import Output
from app.errors import OperatorError, exit_with
from app.operations.checks.items import Item, Verdict

__all__ = ["end_unusable"]

#: The commands whose output may be a JSON document.
_COMMANDS = (
    "audit",
    "chains",
    "check",
    "dead-letters",
    "diff",
    "leftovers",
    "products",
    "rewind",
    "skip",
    "status",
)


def end_unusable(error: OperatorError) -> NoReturn:
    """Report an error as the command that was called does, and exit with code 1.

    Raises
    ------
    SystemExit
        Always.
    """
    arguments = sys.argv[1:]
    at = next((n for n, each in enumerate(arguments) if each in _COMMANDS), None)
    if at is not None:
        # What follows the command's name are options of its own.
        is_json = "--json" in arguments[:at]
        output = Output(SimpleNamespace(json=is_json, quiet=False))
        if arguments[at] == "check":
            raise SystemExit(show_items(output, [Item("settings", Verdict.WRONG, str(error))]))
        output.document({"error": str(error)})
    exit_with(str(error), 1)
