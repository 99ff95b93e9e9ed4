"""The fenced command blocks of the documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from testbed.worker import CHECKOUT
from tests.support.runbook import FOR_CLUSTERS

__all__ = ["CommandBlock", "command_blocks"]

_LANGUAGES = {"sh", "bash", "shell", "console"}


@dataclass(frozen=True)
class CommandBlock:
    """A fenced block of commands.

    Attributes
    ----------
    document : `str`
        The document's path in the repository.
    heading : `str`
        The heading that the block stands under.
    text : `str`
        The commands as they are printed.
    """

    document: str
    heading: str
    text: str

    @property
    def name(self) -> str:
        """The document and the heading."""
        return f"{self.document}: {self.heading}"


def command_blocks() -> dict[str, CommandBlock]:
    """Return the command blocks of all documents but those for a cluster by their names.

    `tests.support.runbook` has the lines of the others.

    Raises
    ------
    ValueError
        If two blocks stand under one heading.
    """
    documents = [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md"), CHECKOUT / "client/README.md"]
    found: dict[str, CommandBlock] = {}
    for document in set(documents) - set(FOR_CLUSTERS):
        for block in _blocks_of(document):
            if block.name in found:
                raise ValueError(f"two command blocks under one heading: {block.name}")
            found[block.name] = block
    return found


def _blocks_of(document: Path) -> list[CommandBlock]:
    blocks: list[CommandBlock] = []
    heading, language, lines = "", None, list[str]()
    for line in document.read_text().splitlines():
        if line.startswith("```"):
            if language in _LANGUAGES:
                text = "\n".join(lines)
                blocks.append(CommandBlock(str(document.relative_to(CHECKOUT)), heading, text))
            language, lines = (line.strip("`") if language is None else None), []
        elif language is not None:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return blocks
