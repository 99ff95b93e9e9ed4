"""Send many values to PostgreSQL as the text of one array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy.dialects import postgresql

__all__ = ["ArrayText", "array_texts"]

#: Stands for `None` in an array: no text in PostgreSQL can contain this character.
_NULL = "\0"

_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]


class ArrayText(sqlalchemy.types.UserDefinedType[str]):
    """An array that is sent as its text.

    The literal itself is typed (``'{...}'::BIGINT[]``), so that the server parses it once.  A cast
    from text is evaluated twice, by the planner for an estimate and by the execution (our
    measurement: 85 ms of the 1.4 s that the database takes for 189 events of 100 datasets).
    """

    cache_ok = True
    render_bind_cast = True

    def __init__(self, element: str) -> None:
        self.element = element

    @classmethod
    def of(cls, column: sqlalchemy.ColumnElement[Any]) -> ArrayText:
        """Return the type of an array of a column's values."""
        # Not VARCHAR(n): an explicit cast to it silently truncates longer values.
        kind = sqlalchemy.Text() if isinstance(column.type, sqlalchemy.String) else column.type
        return cls(kind.compile(_POSTGRESQL))

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name."""
        return f"{self.element}[]"


def array_texts(columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> dict[str, str]:
    """Return the values of each column as the text of an array."""
    values = zip(*rows, strict=True)
    return {name: _array_text(of) for name, of in zip(columns, values, strict=True)}


def _array_text(values: Sequence[Any]) -> str:
    """Return the text of a PostgreSQL array (the driver takes 5 times as long)."""
    texts = [_NULL if value is None else str(value) for value in values]
    plain = "".join(texts)
    if '"' in plain or "\\" in plain:  # PostgreSQL manual, 8.15.6
        texts = [text.replace("\\", r"\\").replace('"', r"\"") for text in texts]
    return ('{"' + '","'.join(texts) + '"}').replace(f'"{_NULL}"', "NULL")
