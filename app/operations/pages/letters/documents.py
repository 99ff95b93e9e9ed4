"""Dead letters as the pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.operations.dead_letters import StoredLetter

__all__ = ["LetterDetailDocument", "LetterDocument", "LettersDocument", "letter_document"]

#: Characters that are kept of the headers, which anybody who may write to the topic has chosen.
#: A reason of this service has at most 2000.
_REASON = 2000
_TEXT = 250


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
        How many letters the topic has, by its offsets.
    counted : `int`
        How many letters `causes` counts: the newest ones, at most 200.
    counted_since : `str` or `None`
        When the oldest of these was set aside.
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
    counted_since: str | None
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


def letter_document(stored: StoredLetter, longest_reason: int = _REASON) -> LetterDocument:
    """Return a letter as the pages show it.

    Parameters
    ----------
    stored : `StoredLetter`
        The letter.
    longest_reason : `int`, optional
        How many characters of its reason are kept.
    """
    letter = stored.letter
    return LetterDocument(
        id=str(stored.id),
        message=f"{letter.topic[:_TEXT]}-{letter.partition}-{letter.offset}",
        cause=letter.error_class[:_TEXT],
        reason=letter.reason[:longest_reason],
        set_aside=letter.time[:_TEXT],
        replays=letter.replays,
        bytes=len(stored.value or b""),
    )
