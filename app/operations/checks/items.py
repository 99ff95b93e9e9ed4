"""One thing that was checked, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from app.errors import OperatorError, UnavailableError

__all__ = ["Item", "Verdict", "item_of"]


class Verdict(StrEnum):
    """What is known of an item."""

    OK = "ok"
    WRONG = "wrong"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was checked.

    Attributes
    ----------
    name : `str`
        What was checked.
    verdict : `Verdict`
        What is known of it.
    detail : `str`
        What was found; if it is wrong, the remedy too.  A note begins with ``note:``.
    counts : `bool`
        Whether the exit code depends on it.
    """

    name: str
    verdict: Verdict
    detail: str = ""
    counts: bool = True


def item_of(name: str, check: Callable[[], str | None]) -> Item:
    """Return the item of a check that raises an `~app.errors.OperatorError` if it fails.

    Parameters
    ----------
    name : `str`
        What is checked.
    check : `~collections.abc.Callable`
        May return what was found.
    """
    try:
        return Item(name, Verdict.OK, check() or "")
    except UnavailableError as exc:
        return Item(name, Verdict.NOT_CHECKED, str(exc))
    except OperatorError as exc:
        return Item(name, Verdict.WRONG, str(exc))
