"""Finds out which event ends its worker: how often reading has started at an offset, in vain.

The records are kept in the metadata of the group's commits (see `app.intake.evidence`), so that the
next worker finds them, whichever it is.  Once reading has started too often at an offset without an
event being finished, the worker is *careful*: it tries one event at a time, and records each
attempt before it is made.  An attempt that the next worker finds recorded has ended the worker
before it: its event is the *suspect*, and is set aside (rule no-endless-retries).

Pure: no I/O, no clock.  The main thread writes, the consumer's thread reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from app.intake.fetches import Partition

__all__ = ["StartRecord", "Starts"]

_STARTS = re.compile(r"\bstarts (\d{1,9})\b")
_CAREFUL = re.compile(r"\bcareful (\d{1,19})\b")
_TRYING = re.compile(r"\btrying (\d{1,19})\b")


class StartRecord(NamedTuple):
    """What a commit tells about the workers that have read from its offset.

    Attributes
    ----------
    starts : `int`
        How many workers have started to read there, and ended before they had finished an event.
    careful_to : `int`
        Events before this offset are tried one at a time; 0: none.
    trying : `int` or `None`
        The offset of the event that is being tried alone.
    """

    starts: int = 0
    careful_to: int = 0
    trying: int | None = None

    def __str__(self) -> str:
        """Return the text that a commit has; empty if there is nothing to tell."""
        texts = [f"starts {self.starts}"] if self.starts else []
        texts += [f"careful {self.careful_to}"] if self.careful_to else []
        texts += [] if self.trying is None else [f"trying {self.trying}"]
        return " ".join(texts)

    @classmethod
    def of(cls, metadata: str) -> StartRecord:
        """Return what the metadata of a commit tells."""
        starts, careful, trying = (
            found and int(found[1])
            for found in (pattern.search(metadata) for pattern in (_STARTS, _CAREFUL, _TRYING))
        )
        return cls(starts or 0, careful or 0, trying)


class Starts:
    """The starts of this worker in its partitions, and those that it has found recorded.

    Parameters
    ----------
    limit : `int`
        After so many starts in vain a worker is careful; 0: never.
    span : `int`
        How many events a worker can have in work: it stays careful for so many.

    Attributes
    ----------
    suspects : `set` [`tuple`]
        The partition and the offset of each event that has ended a worker.
    """

    def __init__(self, limit: int = 0, span: int = 1) -> None:
        self._limit = limit
        self._span = span
        self.suspects: set[tuple[Partition, int]] = set()
        self._starts: dict[Partition, _Start] = {}

    def start(self, partition: Partition, offset: int, end: int, found: StartRecord) -> None:
        """Note where reading of a partition starts, unless it was noted since `forget`.

        Parameters
        ----------
        partition : `tuple` [`str`, `int`]
            Topic and partition.
        offset, end : `int`
            Where reading starts, and where the log ends: if nothing waits, no event can be at
            fault, and the start does not count.
        found : `StartRecord`
            What the commit at this offset tells.
        """
        if not self._limit or partition in self._starts or end <= offset:
            return
        careful_to = found.careful_to if found.careful_to > offset else 0
        if found.starts >= self._limit:
            careful_to = max(careful_to, min(end, offset + self._span))
        trying = found.trying if found.trying is not None and found.trying >= offset else None
        if trying is not None:
            self.suspects.add((partition, trying))
        before = StartRecord(found.starts, careful_to)
        now = StartRecord(found.starts + 1, careful_to, trying)
        self._starts[partition] = _Start(offset, before, now)

    def forget(self, partition: Partition) -> None:
        """Forget a partition: it was revoked, or starts anew."""
        self._starts.pop(partition, None)
        self.suspects = {each for each in self.suspects if each[0] != partition}

    @property
    def partitions(self) -> list[Partition]:
        """The partitions of which a commit has something to tell."""
        return list(self._starts)

    @property
    def is_careful(self) -> bool:
        """Whether events are tried one at a time, of whatever partition."""
        return any(start.now.careful_to for start in self._starts.values())

    def careful(self) -> dict[Partition, tuple[int, int]]:
        """Return the partitions with an event at fault: where to read carefully, from and to."""
        return {
            partition: (start.offset, start.now.careful_to)
            for partition, start in self._starts.items()
            if start.now.careful_to
        }

    def try_alone(self, partition: Partition, offset: int) -> None:
        """Note that an event is about to be tried alone."""
        nothing = StartRecord()
        start = self._starts.setdefault(partition, _Start(offset, nothing, nothing))
        start.now = start.now._replace(trying=offset)

    def end_attempt(self, partition: Partition, acked_to: int) -> None:
        """Note that no event of a partition is being tried, and how far it is finished."""
        start = self._starts[partition]
        careful_to = start.now.careful_to if start.now.careful_to > acked_to else 0
        start.now = start.now._replace(trying=None, careful_to=careful_to)

    def take_back(self) -> None:
        """Do not count the starts of this worker: it ends, or gives up its partitions, in order."""
        for start in self._starts.values():
            start.now = start.before._replace(careful_to=start.now.careful_to)

    def at(self, partition: Partition, committed: int) -> StartRecord:
        """Return the record for a commit: progress ends the count."""
        if (start := self._starts.get(partition)) is None:
            return StartRecord()
        starts, careful_to, trying = start.now
        return StartRecord(
            starts if committed <= start.offset else 0,
            careful_to if committed < careful_to else 0,
            trying if trying is not None and committed <= trying else None,
        )


@dataclass(slots=True)
class _Start:
    """Where reading of a partition has started, the record found there, and the present one."""

    offset: int
    before: StartRecord
    now: StartRecord
