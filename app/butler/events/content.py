"""Check names, texts and numbers that an event gives, each before it is used.

A text that is shown in a reason is shortened, and so are lists and objects.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from typing import Any

from app.butler.events.limits import EventLimits
from models.errors import InvalidEventError

__all__ = ["check_content", "check_name", "check_values", "shown"]

#: The range of the databases' integers.
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1

_CONTAINERS = (dict, list)

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 200


def shown(value: object) -> str:
    """Return a value as a reason shows it: short, however long or deep it is."""
    return _repr.repr(value)


def check_name(what: str, name: str, limits: EventLimits) -> None:
    """Check a name that people will read and type: of a run, a chain or a dataset type.

    Raises
    ------
    InvalidEventError
        If it is too long, or has a character that is not printable: a control character, one that
        changes the direction of the text, or half a character of UTF-16.
    """
    if len(name) > limits.max_name_length:
        limits.check("max_name_length", f"the name of a {what} has {{}} characters", len(name))
    if not name.isprintable():
        character = next(c for c in name if not c.isprintable())
        raise InvalidEventError(
            f"{what} {shown(name)} has the character U+{ord(character):04X}, which is not printable"
        )


def check_values(what: str, values: Iterable[Any], limits: EventLimits) -> None:
    """Check single values: the length of texts, and that integers fit into the database.

    Raises
    ------
    InvalidEventError
        If one does not fit.
    """
    longest = limits.max_text_length
    for value in values:
        kind = type(value)
        if kind is str and len(value) > longest:
            limits.check("max_text_length", f"a text in {what} has {{}} characters", len(value))
        elif kind is int and not _SMALLEST <= value <= _LARGEST:
            raise InvalidEventError(f"{what} has the number {shown(value)}, which is out of range")


def check_content(what: str, content: Mapping[str, Any], limits: EventLimits) -> None:
    """Check an object whose values may be lists and objects.

    The field ``region`` may be longer than other texts: `check_region` checks it.

    Raises
    ------
    InvalidEventError
        If it has too many values, or is nested too deeply, or has a value that does not fit.
    """
    layer: list[Any] = [value for name, value in content.items() if name != "region"]
    number, level = len(layer), 1
    while layer:
        if number > limits.max_fields:
            limits.check("max_fields", f"{what} has {{}} values or more", number)
        if level > limits.max_nesting:
            limits.check("max_nesting", f"{what} has {{}} levels or more", level)
        check_values(what, layer, limits)
        inner = [item for item in layer if type(item) in _CONTAINERS]
        number += sum(map(len, inner))
        level += 1
        layer = list(islice(chain.from_iterable(map(_values, inner)), limits.max_fields))


def _values(item: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return item.values() if isinstance(item, dict) else item
