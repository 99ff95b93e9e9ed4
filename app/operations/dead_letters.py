"""Reads dead letters, and replays their events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import AsyncExitStack
from functools import cache
from operator import itemgetter
from typing import Self

import structlog

from app.butler.descriptions import describe, describe_with_type
from app.butler.events.limits import EventLimits
from app.butler.repository.chains import WRITTEN_BUT
from app.errors import OperatorError
from app.kafka.connection import KafkaConnection
from app.kafka.errors import MessageSizeTooLargeError, TopicError
from app.kafka.producer import open_producer
from app.kafka.readers import MessageId, TopicReader, open_reader
from app.operations.event_presence import GivenEvent, are_written, chunks_of, datasets_of
from app.operations.presence import Presence
from app.operations.stored_letters import StoredLetter, digest_of, stored_letter
from app.settings import MIB, KafkaSettings
from models.dead_letter import replay_headers

__all__ = ["DeadLetters", "LostEventError", "StoredLetter", "stored_letter"]

logger = structlog.get_logger("butler_writer")

#: Size limit in bytes of a replayed event; the input topic's own may be lower.  It is far above the
#: workers' limit, which may have been raised since the event was set aside.
_LARGEST_EVENT = 100 * MIB


#: How many events are looked up in one call at most.
_CHUNK = 100


class LostEventError(OperatorError):
    """The input topic no longer has the event that a dead letter points to."""


class DeadLetters:
    """The dead letters of a deployment; a context manager, which ends its consumer of events.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to read from.
    settings : `~app.settings.KafkaSettings`
        Names of the topics, and the largest event.
    limits : `EventLimits`, optional
        How much an event may have; one that has more is not decoded.  Without it, the defaults
        apply.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        settings: KafkaSettings,
        limits: EventLimits | None = None,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._limits = limits or EventLimits()
        self._consumers = AsyncExitStack()
        self._inputs: dict[str, TopicReader] = {}
        self._harmful: frozenset[str] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._inputs.clear()
        await self._consumers.aclose()

    async def read(self) -> AsyncGenerator[StoredLetter, None]:
        """Read the letters that exist now; letters of one partition are in order.

        Raises
        ------
        app.kafka.errors.TopicError
            If there is no dead-letter topic.
        app.kafka.errors.KafkaError
            If the brokers cannot be reached or refuse the user, as in all methods.
        """
        topic = self._settings.dead_letter_topic
        async with open_reader(self._connection, topic, self._settings.max_message_bytes) as reader:
            async for message in reader.read_until(await reader.end_offsets()):
                if (stored := stored_letter(message)) is not None:
                    yield stored

    async def harmful(self) -> frozenset[str]:
        """Return the digests of harmful events, which have ended a worker or were skipped.

        No command decodes one of them, whichever letter or offset has it.  They are read once.
        """
        if self._harmful is None:
            self._harmful = frozenset(
                [stored.digest async for stored in self.read() if stored.is_harmful]
            )
        return self._harmful

    async def is_harmful(self, stored: StoredLetter) -> bool:
        """Return whether the event of a letter is harmful, by this letter or another one."""
        return stored.is_harmful or stored.digest in await self.harmful()

    async def find(self, ids: Iterable[MessageId]) -> list[StoredLetter | None]:
        """Read letters by their ids, in that order; `None` for each that does not exist."""
        topic = self._settings.dead_letter_topic
        async with open_reader(self._connection, topic, self._settings.max_message_bytes) as reader:
            messages = [await reader.message(*letter_id) for letter_id in ids]
        return [stored_letter(message) if message is not None else None for message in messages]

    async def latest(self) -> set[MessageId]:
        """Return the id of the last letter of each event.

        An event gets another letter each time that a replay fails.  Replaying all of them would
        double their number each time.

        A letter that points to an event hides other letters only if they point to an event as well,
        and if the input topic has an event there with the digest that the letter gives.
        """
        latest: dict[str, tuple[int, str, MessageId]] = {}
        pointing: defaultdict[str, list[StoredLetter]] = defaultdict(list)
        async for stored in self.read():
            if stored.pointer is not None:
                pointing[stored.digest].append(stored)
                continue
            letter = (stored.letter.replays, stored.letter.time, stored.id)
            latest[stored.digest] = max(letter, latest.get(stored.digest, letter))
        found = {letter_id for _, _, letter_id in latest.values()}
        for letters in pointing.values():
            found |= await self._latest_pointing(letters)
        return found

    async def _latest_pointing(self, letters: Sequence[StoredLetter]) -> set[MessageId]:
        """Return the last of the letters that point to one event, and those that may be forged."""
        if len(letters) == 1:
            return {letters[0].id}
        found: set[MessageId] = set()
        confirmed: list[tuple[int, str, MessageId]] = []
        for stored in letters:
            try:
                await self.event(stored)
            except LostEventError:
                found.add(stored.id)
            else:
                confirmed.append((stored.letter.replays, stored.letter.time, stored.id))
        return found | {max(confirmed)[-1]} if confirmed else found

    async def event(self, stored: StoredLetter) -> bytes | None:
        """Return the event that was set aside, from the input topic if the letter is a pointer.

        Raises
        ------
        LostEventError
            If the input topic no longer has the event.
        """
        if stored.pointer is None:
            return stored.value
        letter = stored.letter
        try:
            reader = await self._input(letter.topic)
        except TopicError as exc:  # whoever forges a letter may name any topic
            raise LostEventError(describe(exc)) from exc
        found = await reader.message(letter.partition, letter.offset)
        if found is None or digest_of(found.value) != stored.digest:
            raise LostEventError(
                f"{letter.topic}-{letter.partition} no longer has the event "
                f"at offset {letter.offset}"
            )
        return found.value

    async def _input(self, topic: str) -> TopicReader:
        """Return the reader of an input topic: one for all letters that point to its events."""
        if topic not in self._inputs:
            reader = open_reader(self._connection, topic, self._settings.max_message_bytes)
            self._inputs[topic] = await self._consumers.enter_async_context(reader)
        return self._inputs[topic]

    async def given_event(self, stored: StoredLetter) -> GivenEvent:
        """Return what the event of a letter says of its datasets.

        An event that the input topic no longer has is taken for one: replaying it says so.
        """
        try:
            return datasets_of(await self.event(stored), self._limits)
        except LostEventError:
            return GivenEvent({})

    async def with_presence(
        self, letters: AsyncIterable[StoredLetter], open_presence: Callable[[], Presence | None]
    ) -> AsyncIterator[tuple[StoredLetter, bool]]:
        """Look up whether the events of letters are in the Butler by now.

        Parameters
        ----------
        letters : `~collections.abc.AsyncIterable` [`StoredLetter`]
            The letters.
        open_presence : `~collections.abc.Callable`
            Opens the repository, once there is a letter; if it returns `None`, no event is found.

        Yields
        ------
        stored : `StoredLetter`
            Each letter.
        is_written : `bool`
            Whether all datasets of its event are in the Butler.  `False` if they were there when
            the event was set aside, because its run could not be put into its chain: it is still to
            be announced.  `False` too for a harmful event, which is not looked up.
        """
        opened = cache(open_presence)
        pairs = ((stored, await self._event_if_any(stored)) async for stored in letters)
        async for chunk in chunks_of(pairs, _CHUNK, itemgetter(1)):
            presence = opened()
            values = [value for _, value in chunk]
            found = (
                [False] * len(chunk)
                if presence is None
                else are_written(presence, values, self._limits)
            )
            for (stored, _), is_written in zip(chunk, found, strict=True):
                yield stored, is_written and not stored.letter.reason.startswith(WRITTEN_BUT)

    async def _event_if_any(self, stored: StoredLetter) -> bytes | None:
        if await self.is_harmful(stored):
            return None
        try:
            return await self.event(stored)
        except LostEventError:
            return None

    async def replay(
        self, letters: AsyncIterable[StoredLetter]
    ) -> AsyncIterator[tuple[StoredLetter, str | None]]:
        """Send the events of letters to the input topic again.

        It is safe to replay an event twice: datasets that the Butler has are not written again.
        Nothing is decoded.

        Yields
        ------
        stored : `StoredLetter`
            Each letter, once its event was sent or could not be sent.
        problem : `str` or `None`
            Why the event could not be sent.

        Raises
        ------
        app.kafka.errors.TopicError
            If there is no input topic.
        """
        topic = self._settings.topic
        async with open_producer(self._connection, topic, _LARGEST_EVENT) as producer:
            async for stored in letters:
                try:
                    await producer.send(
                        await self.event(stored),
                        key=stored.key,
                        headers=replay_headers(stored.letter.replays + 1),
                    )
                except (LostEventError, MessageSizeTooLargeError) as exc:
                    yield stored, describe_with_type(exc)
                else:
                    yield stored, None
