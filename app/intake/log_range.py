"""Where to start reading a partition, given its committed offset and what its log holds.

Pure: no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LogRange"]


@dataclass(frozen=True, slots=True)
class LogRange:
    """The offsets that the log of a partition holds.

    Attributes
    ----------
    first : `int`
        Its first offset.
    end : `int`
        The offset that its next message will have.
    """

    first: int
    end: int

    def lacks(self, committed: int | None) -> bool:
        """Return whether a committed offset is neither in the log nor at its end.

        The log then went back behind it, or has dropped events before they were read.
        """
        return committed is not None and not self.first <= committed <= self.end

    def start(self, committed: int | None, *, was_reset: bool = False) -> int:
        """Return the offset at which reading starts, so that nothing in the log is skipped.

        Parameters
        ----------
        committed : `int` or `None`
            The committed offset, if there is one.
        was_reset : `bool`
            Whether the brokers refused an offset of this partition: its committed offset then
            belongs to a log that is gone, even if the log has grown beyond it since.
        """
        if committed is None or was_reset or self.lacks(committed):
            return self.first
        return committed
