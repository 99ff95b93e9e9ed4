"""YAML as nodes that know their line and column.

Nothing is constructed from the nodes, so no tag has an effect, and ``010`` stays the text that an
operator wrote.  What rules do not need is refused: aliases, which can make a small file large,
tags, and deep nesting.
"""

from __future__ import annotations

from typing import Protocol

import yaml

from app.errors import OperatorError

__all__ = ["Position", "RulesError", "compose", "text_of"]

#: The most bytes of a file, and the deepest nesting of its lists and mappings.
MOST_BYTES = 65_536
_DEEPEST = 8

#: The most characters of a text of the file that an error repeats.
_LONGEST = 40


class Position(Protocol):
    """A position in a file; lines and columns count from 0."""

    @property
    def line(self) -> int:
        """The line."""

    @property
    def column(self) -> int:
        """The column."""


class RulesError(OperatorError):
    """A file of release rules that cannot be used; the text has the line and the column.

    Parameters
    ----------
    file : `str`
        Path of the file.
    position : `Position` or `None`
        Where it is wrong; `None`: the file as a whole.
    problem : `str`
        What is wrong, and the remedy.
    """

    def __init__(self, file: str, position: Position | None, problem: str) -> None:
        where = "" if position is None else f":{position.line + 1}:{position.column + 1}"
        super().__init__(" ".join(f"{file}{where}: {problem}".split()))


def compose(content: bytes, file: str) -> yaml.Node:
    """Return the root node of a file.

    Parameters
    ----------
    content : `bytes`
        What the file contains.
    file : `str`
        Its path, for errors.

    Raises
    ------
    RulesError
        If it is not YAML, is empty, or has something that rules do not need.
    """
    if len(content) > MOST_BYTES:
        raise RulesError(file, None, f"it has more than {MOST_BYTES} bytes: use fewer rules")
    text = _decoded(content, file)
    try:
        _check(text, file)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        problem = str(exc.problem)
        remedy = (
            "use spaces instead of tabs"
            if "\\t" in problem
            else "indent with spaces, and put quotes around text with special characters"
        )
        raise RulesError(file, exc.problem_mark, f"not YAML: {problem}; {remedy}") from exc
    except yaml.reader.ReaderError as exc:
        raise RulesError(
            file, _After(text[: exc.position]), "a control character: remove it"
        ) from exc
    if root is None:
        raise RulesError(file, None, "it is empty: without a rule nothing would be released")
    return root


def text_of(node: yaml.Node) -> str:
    """Return what a node contains, for an error: short, and in one line."""
    if isinstance(node, yaml.ScalarNode):
        value = str(node.value)
        return repr(value if len(value) <= _LONGEST else value[:_LONGEST] + "...")
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


class _After:
    """The position after a text."""

    def __init__(self, text: str) -> None:
        self.line = text.count("\n")
        self.column = len(text) - text.rfind("\n") - 1


def _decoded(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        before = content[: exc.start].decode("utf-8", "replace")
        raise RulesError(file, _After(before), "not UTF-8: save the file as UTF-8") from exc


def _check(text: str, file: str) -> None:
    """Refuse what rules do not need, before anything recurses into it or expands it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        problem = (
            f'an alias: put quotes around text that begins with *, "*{event.anchor}"'
            if isinstance(event, yaml.AliasEvent)
            else "an anchor: put quotes around text that begins with &"
            if getattr(event, "anchor", None) is not None
            else "a tag: put quotes around text that begins with !"
            if getattr(event, "tag", None) is not None
            else f"more than {_DEEPEST} levels: rules are one list of mappings"
            if depth > _DEEPEST
            else None
        )
        if problem is not None:
            raise RulesError(file, event.start_mark, problem)
