"""The runbook, and the other document for a cluster, as tests read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from testbed.worker import CHECKOUT

__all__ = [
    "FOR_CLUSTERS",
    "RUNBOOK",
    "RUNBOOK_URL",
    "RunbookCommand",
    "anchors",
    "runbook_commands",
    "table_of",
]

RUNBOOK = CHECKOUT / "docs/runbook.md"

#: The documents whose commands are for a cluster.
FOR_CLUSTERS = (RUNBOOK, CHECKOUT / "docs/migrate.md")
RUNBOOK_URL = "https://butler-writer.lsst.io/runbook.html"

#: What runs a command in the worker's container.
EXEC = "kubectl exec statefulset/butler-writer-service -- "


@dataclass(frozen=True)
class RunbookCommand:
    """A line of a block of commands.

    Attributes
    ----------
    section : `str`
        The heading that it stands under.
    text : `str`
        The line, as it is printed.
    """

    section: str
    text: str

    @property
    def in_container(self) -> str | None:
        """What runs in the worker's container, if anything does."""
        return self.text.removeprefix(EXEC) if self.text.startswith(EXEC) else None


def anchors(document: Path = RUNBOOK) -> set[str]:
    """Return the anchors of the headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def runbook_commands() -> list[RunbookCommand]:
    """Return all lines of the blocks of commands of these documents, in their order."""
    found: list[RunbookCommand] = []
    section, is_command = "", False
    for line in "".join(document.read_text() for document in FOR_CLUSTERS).splitlines():
        if line.startswith("```"):
            is_command = line == "```sh"
        elif is_command:
            found.append(RunbookCommand(section, line))
        elif line.startswith("#"):
            section = line.lstrip("# ")
    return found


def table_of(section: str) -> list[list[str]]:
    """Return the rows of a section's table, without its head."""
    text = RUNBOOK.read_text().split(f" {section}\n", 1)[1]
    rows = re.search(r"^\|.+\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert rows is not None, section
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1].splitlines()]
