"""Convert the values of data IDs as the deployed service and its database do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lsst.daf.butler import DataCoordinate, Dimension, DimensionGroup

__all__ = ["KnownDataIds", "converted"]

#: An integer as the databases take it from a string.  SQLite also takes a fraction of zeros.
_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,19})(?:\.0*)?\s*", re.ASCII)


@dataclass(slots=True)
class KnownDataIds:
    """The data IDs of a window that have the same dimensions.

    Attributes
    ----------
    dimensions : `lsst.daf.butler.DimensionGroup`
        Their dimensions.
    types : `tuple` [`type`]
        The types of their required values.
    checked : `tuple` [`lsst.daf.butler.Dimension`, ...]
        Those of the dimensions whose values no foreign key checks.
    template : `str`
        Makes a text of the required values, which identifies a data ID (see `RecordKey`).
    known : `dict` [`str`, `lsst.daf.butler.DataCoordinate`]
        The data IDs, by that text.
    """

    dimensions: DimensionGroup
    types: tuple[type, ...]
    checked: tuple[Dimension, ...] = ()
    template: str = ""
    known: dict[str, DataCoordinate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.template = ",".join(["%r"] * len(self.types))  # faster than `repr` of the tuple


def converted(value: object, kind: type) -> object:
    """Return a value of a data ID in the type of its dimension, if it is unambiguous.

    The deployed service accepts ``"1"``, ``1.0`` and ``true`` for a detector, and writes 1:
    pydantic or the database converts them.

    Parameters
    ----------
    value : `object`
        The value, as JSON has it.
    kind : `type`
        `int` or `str`.

    Returns
    -------
    converted : `object`
        The converted value; or the value itself, if it stands for none of that type.
    """
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if kind is int and isinstance(value, str) and (match := _INTEGER.fullmatch(value)):
        return int(match[1])
    if kind is str and isinstance(value, int):
        return str(value)
    return value
