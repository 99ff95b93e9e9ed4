"""The base of the errors that an operator reads."""

from __future__ import annotations

__all__ = ["OperatorError"]


class OperatorError(Exception):
    """Something an operator has to mend.

    The text is one line: what is wrong, which setting or right it is about, and the remedy.  A
    worker or a command prints it after ``butler-writer:`` and exits; no traceback is shown.
    """
