"""What was read last before each offset that is committed.

Brokers do not tell one log from another one with the same name.  So each commit carries what
identifies the last message before the offset, as the commit's metadata; the next worker looks for
that message (rule no-gaps-in-offsets).  Other services ignore the metadata, and a commit without
it is trusted.

Pure: no I/O, no clock.  The consumer's thread and the main thread use it.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterable

from app.intake.fetches import Partition
from app.intake.suspects import ReadMessage

__all__ = ["ReadEvidence", "as_metadata", "from_metadata"]

_FORMAT = re.compile(r"read (\d{1,19}) (-?\d{1,19}) ([0-9a-f]{8})")


def as_metadata(message: ReadMessage | None) -> str:
    """Return the metadata of a commit; empty without a message."""
    if message is None:
        return ""
    return f"read {message.offset} {message.timestamp} {message.digest:08x}"


def from_metadata(metadata: str, committed: int) -> ReadMessage | None:
    """Return the last message before a committed offset.

    Parameters
    ----------
    metadata : `str`
        The commit's metadata; other services leave it empty, or have a format of their own.
    committed : `int`
        The committed offset.

    Returns
    -------
    message : `ReadMessage` or `None`
        `None` if the metadata does not tell.
    """
    found = _FORMAT.fullmatch(metadata)
    if found is None:
        return None
    message = ReadMessage(int(found[1]), int(found[2]), int(found[3], 16))
    return message if message.offset < committed else None


class ReadEvidence:
    """The messages of each partition that were read and are not committed, and one before them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: dict[Partition, deque[ReadMessage]] = {}

    def start(self, partition: Partition, last: ReadMessage | None) -> None:
        """Note the last message before the offset at which reading starts, if it is known."""
        with self._lock:
            self._read[partition] = deque([] if last is None else [last])

    def read(self, partition: Partition, messages: Iterable[ReadMessage]) -> None:
        """Note messages that were fetched, in their order; they may have been fetched before."""
        with self._lock:
            read = self._read.setdefault(partition, deque())
            for message in messages:
                while read and read[-1].offset >= message.offset:
                    read.pop()
                read.append(message)

    def before(self, partition: Partition, committed: int) -> ReadMessage | None:
        """Return the last message before an offset that is committed now; forget earlier ones."""
        with self._lock:
            read = self._read.get(partition, deque())
            while len(read) > 1 and read[1].offset < committed:
                read.popleft()
            return read[0] if read and read[0].offset < committed else None
