"""The newest dead letters.

A look reads only what was added since the last one, and at most `MOST` messages; what is kept of
a letter is without its event.  So causes are counted among the newest letters only; how many there
are in all is known from the offsets.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from app.butler.descriptions import describe_with_type
from app.kafka.errors import AuthorizationError, TopicError
from app.kafka.readers import MessageId, TopicReader
from app.operations.dead_letters import stored_letter
from app.operations.pages.cached import Cached
from app.operations.pages.letters.documents import (
    LetterDocument,
    LettersDocument,
    letter_document,
)
from app.operations.pages.letters.reader import READ_SECONDS, LetterReader

__all__ = ["MOST", "NewestLetters", "shares"]

#: How many messages a look reads, and how many letters are kept and listed.
MOST = 200
_LISTED = 100

#: For how many seconds an answer is kept.
_KEPT = 5.0

#: Characters of a reason that are listed.
_REASON = 500


class NewestLetters:
    """The newest dead letters.

    Parameters
    ----------
    reader : `LetterReader`
        Reads the topic.
    """

    def __init__(self, reader: LetterReader) -> None:
        self._reader = reader
        self._letters: dict[MessageId, LetterDocument] = {}
        self._next: dict[int, int] = {}
        self._total: int | None = None
        self._document = Cached(self._find, _KEPT)

    async def get(self) -> LettersDocument:
        """Return the newest letters."""
        return await self._document.get()

    async def _find(self) -> LettersDocument:
        no_answer = None
        try:
            async with self._reader.use() as reader:
                await self._read(reader)
        except TimeoutError:
            no_answer = (
                "Kafka has not answered in time: not all letters could be read within "
                f"{READ_SECONDS:g} s. What is shown may be out of date."
            )
        except TopicError:
            no_answer = "There is no dead-letter topic yet."
        except AuthorizationError:
            no_answer = (
                f"The workers' Kafka user may not READ the topic {self._reader.topic}; "
                "README.md lists the access rules."
            )
        except Exception as exc:  # noqa: BLE001 - the page says so, whatever it is
            no_answer = f"Kafka cannot be asked: {describe_with_type(exc)}."
        self._forget_old()
        newest = list(self._letters.values())
        return LettersDocument(
            at=time.time(),
            topic=self._reader.topic,
            no_answer=no_answer,
            total=self._total,
            counted=len(newest),
            counted_since=newest[-1].set_aside if newest else None,
            causes=dict(Counter(letter.cause for letter in newest).most_common()),
            letters=newest[:_LISTED],
        )

    def _forget_old(self) -> None:
        """Keep the newest letters, the last one first."""
        ordered = sorted(
            self._letters.items(), key=lambda each: (each[1].set_aside, each[0]), reverse=True
        )
        self._letters = dict(ordered[:MOST])

    async def _read(self, reader: TopicReader) -> None:
        first, ends = await reader.first_offsets(), await reader.end_offsets()
        self._total = sum(ends.values()) - sum(first.values())
        if any(self._next.get(number, 0) > end for number, end in ends.items()):
            self._next.clear()  # the topic was made anew
            self._letters.clear()
        self._letters = {  # what retention has removed is gone
            each: letter
            for each, letter in self._letters.items()
            if each.offset >= first.get(each.partition, 0)
        }
        starts = {number: max(first[number], self._next.get(number, 0)) for number in ends}
        new = shares({number: ends[number] - start for number, start in starts.items()})
        for number, count in new.items():
            reader.seek(number, ends[number] - count)
        async for message in reader.read_until({number: ends[number] for number in new}):
            self._next[message.partition] = message.offset + 1
            if (stored := stored_letter(message)) is not None:
                self._letters[stored.id] = letter_document(stored, _REASON)
        self._next.update({number: ends[number] for number in new})


def shares(available: Mapping[int, int]) -> dict[int, int]:
    """Return how many messages of each partition are read: `MOST` in all.

    Parameters
    ----------
    available : `~collections.abc.Mapping` [`int`, `int`]
        How many each has.  What one does not need is left to the others.
    """
    result = {}
    left, partitions = MOST, len(available)
    for number, count in sorted(available.items(), key=lambda each: each[1]):
        if share := min(count, -(-left // partitions)):
            result[number] = share
        left, partitions = left - share, partitions - 1
    return result
