"""One dead letter with its event, as text."""

from __future__ import annotations

import re
from contextlib import suppress

import orjson

from app.kafka.readers import MessageId
from app.operations.dead_letters import stored_letter
from app.operations.pages.cached import CachedByKey
from app.operations.pages.letters.documents import LetterDetailDocument, letter_document
from app.operations.pages.letters.reader import LetterReader

__all__ = ["LetterDetails"]

#: How many letters are kept, and for how many seconds.
_MOST = 16
_KEPT = 5.0

#: How much of an event is shown, in bytes.
_SHOWN = 64 * 1024

#: A string, a bracket, a separator, or a number or word of JSON.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,"\s]+')


class LetterDetails:
    """Reads letters one by one; those that were read last are kept for a short time.

    Parameters
    ----------
    reader : `LetterReader`
        Reads the topic.
    shows_payloads : `bool`
        Whether events are shown.
    """

    def __init__(self, reader: LetterReader, *, shows_payloads: bool) -> None:
        self._reader = reader
        self._shows_payloads = shows_payloads
        self._letters = CachedByKey(self._read, _MOST, _KEPT)

    async def get(self, name: str) -> LetterDetailDocument | None:
        """Return one letter; `None` if there is none of this name.

        Raises
        ------
        TimeoutError
            If the brokers have not answered in time.
        app.kafka.errors.KafkaError
            If the brokers cannot be reached, or refuse the user.
        """
        letter_id = MessageId.named(name)
        return None if letter_id is None else await self._letters.get(letter_id)

    async def _read(self, letter_id: MessageId) -> LetterDetailDocument | None:
        async with self._reader.use() as reader:
            message = await reader.message(*letter_id)
        stored = None if message is None else stored_letter(message)
        if stored is None:
            return None
        shown, is_cut = _as_text(stored.value or b"", may_decode=not stored.is_harmful)
        return LetterDetailDocument(
            letter=letter_document(stored),
            payload=shown if self._shows_payloads else None,
            is_cut=is_cut,
            replay=f"faust -A app dead-letters replay {stored.id}",
        )


def _as_text(value: bytes, *, may_decode: bool = True) -> tuple[str, bool]:
    """Return an event as text that can be read, and whether it was cut."""
    if may_decode and len(value) <= _SHOWN:
        # A bad event may be anything, such as lists within lists that are too deep.
        with suppress(orjson.JSONDecodeError, orjson.JSONEncodeError):
            orjson.dumps(orjson.loads(value))
            value = _indented(value.decode()).encode()
    return value[:_SHOWN].decode(errors="replace"), len(value) > _SHOWN


def _indented(text: str) -> str:
    """Return JSON with line breaks: all of it, or somewhat more than is shown.

    Everything else stays as it was sent: a number that is too large, or a key that is there twice,
    may be what is wrong with the event.
    """
    depth, size, previous = 0, 0, ""
    parts: list[str] = []
    for found in _TOKEN.finditer(text):
        piece = found[0]
        depth -= piece in ("]", "}")
        if previous in ("[", "{", ",") or piece in ("]", "}"):
            is_empty = previous + piece in ("[]", "{}")
            parts.append("" if is_empty else "\n" + "  " * depth)
            size += len(parts[-1])
        depth += piece in ("[", "{")
        parts.append(": " if piece == ":" else piece)
        size += len(parts[-1])
        if size > _SHOWN:  # in deep lists, the indents have many times the bytes of the event
            break
        previous = piece
    return "".join(parts)
