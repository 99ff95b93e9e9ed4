"""The entries of the table ``waiting``, as its changelog has them.

Besides what waits, the table has the dataset types for which no rule was found, and what was
withdrawn.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias
from uuid import UUID

import orjson

from app.downstream.waiting import Due, Numbers, Waiting
from app.downstream.withdrawn import Withdrawn

__all__ = [
    "Key",
    "RestoredState",
    "Unruled",
    "WithdrawnDataset",
    "WithdrawnRun",
    "key_of",
    "restored_state",
    "state_of",
]


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


@dataclass
class RestoredState:
    """What the changelog of the table ``waiting`` has.

    Attributes
    ----------
    index : `Waiting`
        What waits.
    outdated : `set` [`Due`]
        The entries that were made by other rules.
    unruled : `set` [`Unruled`]
        Dataset types for which there is no rule.
    withdrawn : `Withdrawn`
        What was withdrawn.
    errors : `list` [`Exception`]
        Why entries were passed over.
    """

    index: Waiting = field(default_factory=Waiting)
    outdated: set[Due] = field(default_factory=set)
    unruled: set[Unruled] = field(default_factory=set)
    withdrawn: Withdrawn = field(default_factory=Withdrawn)
    errors: list[Exception] = field(default_factory=list)


def restored_state(
    latest: Mapping[bytes, bytes | None], partitions: Collection[int], rules: str
) -> RestoredState:
    """Return what a changelog has of some partitions.

    Parameters
    ----------
    latest : `~collections.abc.Mapping` [`bytes`, `bytes` or `None`]
        The last value of each key.
    partitions : `~collections.abc.Collection` [`int`]
        The partitions of the product log.
    rules : `str`
        Identifies the release rules that count now.
    """
    restored = RestoredState()

    def found_entries() -> Iterator[tuple[Due, Numbers]]:
        for key, value in latest.items():
            if value is None:
                continue
            try:
                found = key_of(key)
            except Exception as exc:  # noqa: BLE001 - nothing can be done about such a key
                restored.errors.append(exc)
                continue
            made_by, numbers = state_of(value)
            match found:
                case WithdrawnDataset(dataset_id):
                    restored.withdrawn.ids.add(dataset_id)
                case WithdrawnRun(name):
                    restored.withdrawn.runs.add(name)
                case Unruled() if made_by == rules:
                    restored.unruled.add(found)
                case Due(partition=partition) if partition in partitions:
                    if made_by != rules:
                        restored.outdated.add(found)
                    yield found, numbers

    restored.index = Waiting(found_entries())
    return restored
