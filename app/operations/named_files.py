"""The files that an event names, whether it can be written now, later, or never."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson

from app.butler.events.limits import EventLimits
from app.butler.events.proportion import check_message
from models.errors import OverLimitError
from models.prompt_output import load_json

__all__ = ["NamedFiles", "files_ending_with"]

#: A path in the text of an event; its quotes belong to it.
_PATH = re.compile(rb'"path"[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]++|\\.)*+")')


@dataclass(frozen=True)
class NamedFiles:
    """The files that an event names.

    Attributes
    ----------
    paths : `~collections.abc.Iterable` [`object`]
        Their paths as the event gives them, which may be anything; they can be read once.
    staging : `object`
        The staging root as the event gives it, which may be anything; `None` if there is none.
    is_known : `bool`
        Whether the event was decoded.  If not, it may name any staging root.
    """

    paths: Iterable[Any]
    staging: Any = None
    is_known: bool = True

    @classmethod
    def of(cls, value: bytes | None, limits: EventLimits, names: Container[str]) -> NamedFiles:
        """Return the files that an event names.

        An event with more than a worker decodes is only searched for paths: whoever raises the
        limit may still replay it, and decoded it might take more memory than there is.

        Parameters
        ----------
        value : `bytes` or `None`
            The event.
        limits : `EventLimits`
            How much an event may have.
        names : `~collections.abc.Container` [`str`]
            Names of files, without their folders.  Of an event that is only searched, other files
            are left out.

        Raises
        ------
        ValueError, TypeError, LookupError, AttributeError
            If the message is no event.
        """
        try:
            check_message(None, value, {}, limits)
        except OverLimitError:
            return cls(_found(value or b"", names), is_known=False)
        event = load_json(value or b"")
        return cls((dataset["path"] for dataset in event["datasets"]), event.get("staging"))


def files_ending_with(path: str, files: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield any file that a path below an unknown root may mean: it is kept, and not looked at.

    Parameters
    ----------
    path : `str`
        A path that an event names.
    files : `~collections.abc.Mapping` [`str`, `~collections.abc.Sequence` [`str`]]
        The addresses of files, by their names.
    """
    for file in files.get(path.rpartition("/")[2], ()):
        if file.endswith(f"/{path}"):
            yield file


def _found(value: bytes, names: Container[str]) -> Iterator[str]:
    for found in _PATH.finditer(value):
        try:
            path = str(orjson.loads(found[1]))
        except orjson.JSONDecodeError:
            continue
        name = path.rpartition("/")[2]
        if name in names or unquote(path).rpartition("/")[2] in names:
            yield path
