"""The newest dead letters.

A look reads only what was added since the last one, and at most `MOST` messages; what is kept of
a letter is without its event.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import orjson

from app.butler.descriptions import describe_with_type
from app.kafka.connection import KafkaConnection
from app.kafka.errors import AuthorizationError, TopicError
from app.kafka.readers import MessageId, TopicReader, open_reader
from app.operations.dead_letters import DeadLetters, StoredLetter, stored_letter
from app.operations.pages.cached import Cached
from app.settings import KafkaSettings

__all__ = ["MOST", "LetterDetailDocument", "LetterDocument", "LettersDocument", "NewestLetters"]

#: How many messages a look reads, and how many letters are kept and listed.
MOST = 200
_LISTED = 100

#: Seconds that a look may take, and for how long its answer is kept.
_TIMEOUT = 3.0
_KEPT = 5.0

#: How much of an event is shown, in bytes.
_SHOWN = 64 * 1024

#: Characters of a reason that are kept.
_REASON = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterDocument:
    """A dead letter without its event.

    Attributes
    ----------
    id : `str`
        Its name in commands: partition and offset in the dead-letter topic.
    message : `str`
        The message id of the event in the input.
    set_aside : `str`
        When the event was set aside, ISO 8601.
    replays : `int`
        How often it had been replayed before.
    """

    id: str
    message: str
    cause: str
    reason: str
    set_aside: str
    replays: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LettersDocument:
    """The newest dead letters.

    Attributes
    ----------
    no_answer : `str` or `None`
        Why (some of) the topic could not be read.
    total : `int` or `None`
        How many offsets the topic has.
    counted : `int`
        How many letters `causes` counts: the newest.
    causes : `dict` [`str`, `int`]
        The number of letters of each cause.
    letters : `~collections.abc.Sequence` [`LetterDocument`]
        The newest first.
    """

    at: float
    topic: str
    no_answer: str | None
    total: int | None
    counted: int
    causes: dict[str, int]
    letters: Sequence[LetterDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterDetailDocument:
    """A dead letter with its event.

    Attributes
    ----------
    payload : `str` or `None`
        The event as text, or the pointer to it; `None` if it is not to be shown.
    is_cut : `bool`
        Whether only the beginning is shown.
    replay : `str`
        The command that sends the event again.
    """

    letter: LetterDocument
    payload: str | None
    is_cut: bool
    replay: str


class NewestLetters:
    """The newest dead letters.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to read from.
    settings : `KafkaSettings`
        Has the names of the topics.
    shows_payloads : `bool`
        Whether events are shown.
    """

    def __init__(
        self, connection: KafkaConnection, settings: KafkaSettings, *, shows_payloads: bool
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._shows_payloads = shows_payloads
        self._letters: deque[LetterDocument] = deque(maxlen=MOST)
        self._next: dict[int, int] = {}
        self._total: int | None = None
        self._document = Cached(self._find, _KEPT)

    async def newest(self) -> LettersDocument:
        """Return the newest letters."""
        return await self._document.get()

    async def detail(self, name: str) -> LetterDetailDocument | None:
        """Return one letter; `None` if there is none of this name.

        Raises
        ------
        TimeoutError
            If the brokers have not answered in time.
        app.kafka.errors.KafkaError
            If the brokers cannot be reached, or refuse the user.
        """
        partition, _, offset = name.partition("-")
        if not (partition + offset).isdecimal() or len(name) > 30:
            return None
        letter_id = MessageId(int(partition or -1), int(offset or -1))
        async with asyncio.timeout(_TIMEOUT), DeadLetters(self._connection, self._settings) as all_:
            (stored,) = await all_.find([letter_id])
        if stored is None:
            return None
        shown, is_cut = _as_text(stored.value or b"")
        return LetterDetailDocument(
            letter=replace(_document(stored), reason=stored.letter.reason),
            payload=shown if self._shows_payloads else None,
            is_cut=is_cut,
            replay=f"faust -A app dead-letters replay {stored.id}",
        )

    async def _find(self) -> LettersDocument:
        no_answer = None
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._read()
        except TimeoutError:
            no_answer = f"Not all letters could be read within {_TIMEOUT:g} s."
        except TopicError:
            no_answer = "There is no dead-letter topic yet."
        except AuthorizationError:
            no_answer = (
                "The workers' Kafka user may not READ the topic "
                f"{self._settings.dead_letter_topic}; README.md lists the access rules."
            )
        except Exception as exc:  # noqa: BLE001 - the page says so, whatever it is
            no_answer = f"Kafka cannot be asked: {describe_with_type(exc)}."
        newest = sorted(self._letters, key=lambda letter: letter.set_aside, reverse=True)
        return LettersDocument(
            at=time.time(),
            topic=self._settings.dead_letter_topic,
            no_answer=no_answer,
            total=self._total,
            counted=len(newest),
            causes=dict(Counter(letter.cause for letter in newest).most_common()),
            letters=newest[:_LISTED],
        )

    async def _read(self) -> None:
        kafka = self._settings
        async with open_reader(
            self._connection, kafka.dead_letter_topic, kafka.max_message_bytes
        ) as reader:
            first, ends = await reader.first_offsets(), await reader.end_offsets()
            self._total = sum(ends.values()) - sum(first.values())
            if any(self._next.get(number, 0) > end for number, end in ends.items()):
                self._next.clear()  # the topic was made anew
                self._letters.clear()
            new = self._seek(reader, first, ends)
            async for message in reader.read_until(new):
                self._next[message.partition] = message.offset + 1
                if (stored := stored_letter(message)) is not None:
                    self._letters.append(_document(stored))
            self._next.update(new)

    def _seek(
        self, reader: TopicReader, first: dict[int, int], ends: dict[int, int]
    ) -> dict[int, int]:
        """Go to the first letter of each partition that is to be read; return their ends."""
        share = max(1, MOST // len(ends))
        new = {}
        for number, end in ends.items():
            start = max(first[number], self._next.get(number, 0), end - share)
            if start < end:
                reader.seek(number, start)
                new[number] = end
        return new


def _document(stored: StoredLetter) -> LetterDocument:
    letter = stored.letter
    return LetterDocument(
        id=str(stored.id),
        message=f"{letter.topic}-{letter.partition}-{letter.offset}",
        cause=letter.error_class,
        reason=letter.reason[:_REASON],
        set_aside=letter.time,
        replays=letter.replays,
        bytes=len(stored.value or b""),
    )


def _as_text(value: bytes) -> tuple[str, bool]:
    """Return an event as text that can be read, and whether it was cut."""
    if len(value) <= _SHOWN:
        # A bad event may be anything, such as lists within lists that are too deep.
        with suppress(orjson.JSONDecodeError, orjson.JSONEncodeError):
            value = orjson.dumps(orjson.loads(value), option=orjson.OPT_INDENT_2)
    return value[:_SHOWN].decode(errors="replace"), len(value) > _SHOWN
