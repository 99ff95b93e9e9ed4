"""What was read last before each offset that is committed, and of which topic.

Brokers do not tell one log from another one with the same name.  So each commit carries the
topic's id and what identifies the last message before the offset, as the commit's metadata; the
next worker compares the id and looks for that message (rule no-gaps-in-offsets).  It also carries
how often reading has started at the offset in vain (see `app.intake.starts`).  Other services
ignore the metadata, and a commit without it is trusted.

Pure: no I/O, no clock.  The consumer's thread and the main thread use it.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from app.intake.fetches import Partition
from app.intake.starts import StartRecord, Starts
from app.intake.suspects import ReadMessage

__all__ = ["CommitEvidence", "ReadEvidence", "as_metadata", "from_metadata"]

_READ = re.compile(r"\bread (\d{1,19}) (-?\d{1,19}) ([0-9a-f]{8})\b")
_TOPIC = re.compile(r"\btopic ([0-9a-f]{32})\b")


class CommitEvidence(NamedTuple):
    """What a commit tells about the log that was read.

    Attributes
    ----------
    last : `ReadMessage` or `None`
        The last message before the committed offset, if it is known.
    topic_id : `str` or `None`
        The topic's id, if it is known.
    starts : `StartRecord`
        The workers that have started there in vain.
    """

    last: ReadMessage | None = None
    topic_id: str | None = None
    starts: StartRecord = StartRecord()


def as_metadata(evidence: CommitEvidence) -> str:
    """Return the metadata of a commit; empty if nothing is known."""
    texts = [text] if (text := str(evidence.starts)) else []
    if (last := evidence.last) is not None:
        texts.append(f"read {last.offset} {last.timestamp} {last.digest:08x}")
    if evidence.topic_id is not None:
        texts.append(f"topic {evidence.topic_id}")
    return " ".join(texts)


def from_metadata(metadata: str, committed: int) -> CommitEvidence:
    """Return what a commit tells about the log that was read.

    Parameters
    ----------
    metadata : `str`
        The commit's metadata; other services leave it empty, or have a format of their own.
    committed : `int`
        The committed offset.
    """
    read, topic = _READ.search(metadata), _TOPIC.search(metadata)
    last = read and ReadMessage(int(read[1]), int(read[2]), int(read[3], 16))
    return CommitEvidence(
        last=last if last is not None and last.offset < committed else None,
        topic_id=topic and topic[1],
        starts=StartRecord.of(metadata),
    )


class ReadEvidence:
    """The messages of each partition that were read and are not committed, and one before them.

    Parameters
    ----------
    starts : `Starts`, optional
        The starts of this worker; without it, none are counted.

    Attributes
    ----------
    topic_id : `str` or `None`
        The id of the topic that is read, if it is known.
    """

    def __init__(self, starts: Starts | None = None) -> None:
        self.starts = starts or Starts()
        self.topic_id: str | None = None
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

    def of_commit(self, partition: Partition, committed: int) -> CommitEvidence:
        """Return the evidence for an offset that is committed now; forget earlier messages."""
        with self._lock:
            read = self._read.get(partition, deque())
            while len(read) > 1 and read[1].offset < committed:
                read.popleft()
            last = read[0] if read and read[0].offset < committed else None
            return CommitEvidence(last, self.topic_id, self.starts.at(partition, committed))
