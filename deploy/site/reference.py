"""Generates the reference pages of the site from the code: settings, commands, events.

The program prints a JSON object: the Markdown of each page, by its name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from itertools import groupby
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import click
import faust.cli.faust  # noqa: F401 - registers Faust's own commands
from faust.cli.base import cli

import app.commands
import butler_writer_client.event
import models.product
from app.operations.pages.settings_document import settings_document
from app.settings import load_settings

__all__ = ["command_options", "events", "settings"]

_SETTINGS = """\
# Settings

All environment variables of a worker, with their defaults, generated from the code. An empty
variable counts as unset. [The last section](#a-file-to-copy) has the same list as a file;
`/settings` among [the pages](web.md) shows what a worker was started with. A value that cannot be
used ends a worker at once, with the variable and the reason; a variable without effect, such as a
misspelt name, is a warning in the log.
"""

_COMMANDS = """\
# Options of the commands

What `faust -A app <command> --help` prints, generated from the code. [Commands](commands.md) says
what each does.
"""

_EVENTS = """\
# Events

The fields of the messages that cross the border of the service, generated from the code. Fields
that are not required may be left out. [Dead letters](dead-letters.md) has the headers of a dead
letter.
"""


def settings() -> str:
    """Return the page of the environment variables."""
    text = [_SETTINGS]
    found = settings_document("", load_settings()).settings
    for section, members in groupby(found, key=lambda setting: setting.section):
        rows = ((f"`{s.variable}`", _code(s.value), s.meaning) for s in members)
        text += [f"## {section}", "", *_table(("variable", "default", "meaning"), rows), ""]
    example = Path(__file__).parents[2] / ".env.example"
    text += ["## A file to copy", "", "`.env.example`:", "", f"```sh\n{example.read_text()}\n```"]
    return "\n".join(text)


def command_options() -> str:
    """Return the page of the commands' options."""
    before = set(cli.commands)
    for module in walk_packages(app.commands.__path__, "app.commands."):
        import_module(module.name)
    text = [_COMMANDS]
    for name in sorted(set(cli.commands) - before):
        context = click.Context(cli.commands[name], info_name=f"faust -A app {name}")
        text += [f"## {name}", "", "```text", cli.commands[name].get_help(context), "```", ""]
    return "\n".join(text)


def events() -> str:
    """Return the page of the messages."""
    schemas = {
        "The input event": (butler_writer_client.event.json_schema(), "pp-output.schema.json"),
        "A message of the product log": (models.product.json_schema(), "products.schema.json"),
    }
    text = [_EVENTS]
    for title, (schema, file) in schemas.items():
        text += [f"## {title}", "", f"Its JSON Schema is [{file}]({file}).", ""]
        text += _described(schema)
        for name, part in schema["$defs"].items():
            text += [f"### {name}", "", *_described(part)]
    return "\n".join(text)


def _described(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the description and the fields of an object."""
    text, _, attributes = schema.get("description", "").partition("\nAttributes\n----------\n")
    yield text.replace("``", "`")
    yield ""
    required = schema.get("required", ())
    meanings = _meanings(attributes)
    rows = (
        (
            f"`{name}`",
            _code(_kind(field)),
            "yes" if name in required else "no",
            meanings.get(name, ""),
        )
        for name, field in schema["properties"].items()
    )
    yield from _table(("field", "type", "required", "meaning"), rows)
    yield ""


def _meanings(attributes: str) -> dict[str, str]:
    """Return what a docstring says of each field."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in attributes.splitlines():
        if line.startswith(" "):
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
        else:
            names = line.partition(" : ")[0].split(", ")
            found |= dict.fromkeys(names, "")
    return found


def _kind(field: Mapping[str, Any]) -> str:
    """Return the type of a field."""
    match field:
        case {"$ref": name}:
            kind = str(name).rpartition("/")[2]
        case {"const": value}:
            kind = json.dumps(value)
        case {"enum": values}:
            kind = " or ".join(map(json.dumps, values))
        case {"anyOf": kinds}:
            kind = " or ".join(map(_kind, kinds))
        case {"type": "array", "items": items}:
            kind = f"array of {_kind(items)}"
        case {"type": "object", "additionalProperties": dict() as values}:
            kind = f"object with values {_kind(values)}"
        case _:
            kind = str(field.get("format", field.get("type", "any")))
    return kind


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    head = list(head)
    for row in (head, ["---"] * len(head), *rows):
        cells = (cell.replace("|", r"\|").replace("<", "&lt;") for cell in row)
        yield f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    """Return a text as code."""
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    pages = {
        "settings.md": settings(),
        "command-options.md": command_options(),
        "events.md": events(),
    }
    json.dump(pages, sys.stdout)
