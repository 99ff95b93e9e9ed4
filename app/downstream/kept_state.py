"""The entries of the table ``waiting``, as its changelog has them.

Besides what waits, the table has the dataset types for which no rule was found, and what was
withdrawn.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias
from uuid import UUID

import orjson

from app.downstream.waiting import Due, Numbers

__all__ = ["Key", "Unruled", "WithdrawnDataset", "WithdrawnRun", "key_of", "state_of"]


class Unruled(NamedTuple):
    """A dataset type for which there is no rule."""

    name: str

    @property
    def key(self) -> str:
        """The key of its entry in the table."""
        return f"no-rule/{self.name}"


class WithdrawnDataset(NamedTuple):
    """A dataset that was withdrawn."""

    id: UUID

    @property
    def key(self) -> str:
        """The key of its entry in the table."""
        return f"withdrawn/{self.id}"


class WithdrawnRun(NamedTuple):
    """A run all of whose datasets were withdrawn, and will be."""

    name: str

    @property
    def key(self) -> str:
        """The key of its entry in the table."""
        return f"withdrawn-run/{self.name}"


Key: TypeAlias = Due | Unruled | WithdrawnDataset | WithdrawnRun
"""What an entry of the table is about."""


def key_of(key: bytes) -> Key:
    """Return what an entry is about.

    Parameters
    ----------
    key : `bytes`
        The key of a message of the changelog.

    Raises
    ------
    ValueError
        If it is no key of the table.
    """
    kind, separator, name = str(orjson.loads(key)).partition("/")
    if not separator:
        return Due.from_key(kind)
    match kind:
        case "no-rule":
            return Unruled(name)
        case "withdrawn":
            return WithdrawnDataset(UUID(name))
        case "withdrawn-run":
            return WithdrawnRun(name)
    raise ValueError(f"{kind!r} is no kind of entry")


def state_of(value: bytes) -> tuple[str | None, Numbers]:
    """Return the rules that an entry was made by, and its numbers of datasets by type.

    If the value cannot be read, they are `None` and empty: its message has to be read again.

    Parameters
    ----------
    value : `bytes`
        The value of a message of the changelog.
    """
    try:
        state = orjson.loads(value)
        return state["rules"], {str(n): int(c) for n, c in state.get("datasets", {}).items()}
    except Exception:  # noqa: BLE001 - the key suffices to read the message again
        return None, {}
