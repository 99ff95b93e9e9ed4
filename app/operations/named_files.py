"""The files that events name, whether they can be written now, later, or never."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson

from app.butler.events.limits import EventLimits
from app.butler.events.proportion import check_message
from app.kafka.connection import KafkaConnection
from app.kafka.group.log_ranges import first_pending
from app.kafka.group.offsets import committed_offsets
from app.kafka.readers import open_reader
from app.operations.dead_letters import DeadLetters, LostEventError
from app.operations.stored_letters import digest_of
from app.settings import KafkaSettings
from models.errors import OverLimitError
from models.prompt_output import load_json

__all__ = ["NamedFiles", "files_ending_with", "files_of_open_events"]

#: A path in the text of an event; its quotes belong to it.
_PATH = re.compile(rb'"path"[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]++|\\.)*+")')


@dataclass(frozen=True)
class NamedFiles:
    """The files that an event names.

    Attributes
    ----------
    paths : `~collections.abc.Iterable` [`object`]
        Their paths as the event gives them, which may be anything; they can be read once.
    staging : `object`
        The staging root as the event gives it, which may be anything; `None` if there is none.
    is_known : `bool`
        Whether the event was decoded.  If not, it may name any staging root.
    """

    paths: Iterable[Any]
    staging: Any = None
    is_known: bool = True

    @classmethod
    def of(
        cls,
        value: bytes | None,
        limits: EventLimits,
        names: Container[str],
        *,
        is_harmful: bool = False,
    ) -> NamedFiles:
        """Return the files that an event names.

        An event with more than a worker decodes is only searched for paths: whoever raises the
        limit may still replay it, and decoded it might take more memory than there is.  So is a
        harmful event, which may end whatever decodes it.

        Parameters
        ----------
        value : `bytes` or `None`
            The event.
        limits : `EventLimits`
            How much an event may have.
        names : `~collections.abc.Container` [`str`]
            Names of files, without their folders.  Of an event that is only searched, other files
            are left out.
        is_harmful : `bool`, optional
            Whether it has ended a worker, or was skipped.

        Raises
        ------
        ValueError, TypeError, LookupError, AttributeError
            If the message is no event.
        """
        searched = cls(_found(value or b"", names), is_known=False)
        if is_harmful:
            return searched
        try:
            check_message(None, value, {}, limits)
        except OverLimitError:
            return searched
        event = load_json(value or b"")
        return cls((dataset["path"] for dataset in event["datasets"]), event.get("staging"))


async def files_of_open_events(
    connection: KafkaConnection,
    settings: KafkaSettings,
    limits: EventLimits,
    names: Container[str],
) -> AsyncIterator[NamedFiles]:
    """Yield the files of the events that are not processed yet, then of those that were set aside.

    The parameters are those of `NamedFiles.of`, with the brokers and the names of the topics.  What
    is no event has no files.

    Raises
    ------
    app.kafka.errors.TopicError
        If the input topic or the dead-letter topic does not exist.
    app.kafka.errors.KafkaError
        If the brokers cannot be reached or refuse the user.
    """
    async for value, is_harmful in _open_events(connection, settings):
        with suppress(ValueError, TypeError, LookupError, AttributeError):
            yield NamedFiles.of(value, limits, names, is_harmful=is_harmful)


async def _open_events(
    connection: KafkaConnection, settings: KafkaSettings
) -> AsyncIterator[tuple[bytes | None, bool]]:
    """Yield events that may still be written, and whether they are harmful."""
    committed = await committed_offsets(connection, settings.topic)
    async with (
        open_reader(connection, settings.topic, settings.max_message_bytes) as reader,
        DeadLetters(connection, settings) as letters,
    ):
        # A harmful event that was replayed is there again.
        harmful = await letters.harmful()
        pending = await first_pending(connection, reader, committed)
        for partition, offset in pending.items():
            reader.seek(partition, offset)
        async for message in reader.read_until(await reader.end_offsets()):
            yield message.value, digest_of(message.value) in harmful
        async for stored in letters.read():
            with suppress(LostEventError):  # it cannot be replayed
                yield await letters.event(stored), await letters.is_harmful(stored)


def files_ending_with(path: str, files: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield any file that a path below an unknown root may mean: it is kept, and not looked at.

    Parameters
    ----------
    path : `str`
        A path that an event names.
    files : `~collections.abc.Mapping` [`str`, `~collections.abc.Sequence` [`str`]]
        The addresses of files, by their names.
    """
    for file in files.get(path.rpartition("/")[2], ()):
        if file.endswith(f"/{path}"):
            yield file


def _found(value: bytes, names: Container[str]) -> Iterator[str]:
    for found in _PATH.finditer(value):
        try:
            path = str(orjson.loads(found[1]))
        except orjson.JSONDecodeError:
            continue
        name = path.rpartition("/")[2]
        if name in names or unquote(path).rpartition("/")[2] in names:
            yield path
