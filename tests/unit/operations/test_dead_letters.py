"""Dead letters as they are stored."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from app.butler.events.limits import EventLimits
from app.kafka.readers import MessageId
from app.operations import dead_letters
from app.operations.dead_letters import DeadLetters, StoredLetter
from models.causes import Cause
from models.dead_letter import DeadLetter


def letter(error_class: str = "invalid_event", value: bytes | None = b"{}") -> StoredLetter:
    made = DeadLetter.of(("pp-output", 3), 17, Cause.UNKNOWN, "the reason")
    made.error_class = error_class  # may be one that this version does not write
    return StoredLetter(MessageId(0, 5), made, None, value)


@pytest.mark.parametrize("written", ["invalid_event", "InvalidEventError"])
@pytest.mark.parametrize("name", ["invalid_event", "InvalidEventError"])
def test_a_cause_is_recognized_by_its_current_and_its_former_name(written: str, name: str) -> None:
    assert letter(written).has_error_class(name)


def test_former_names_of_one_cause_select_the_same_letters() -> None:
    assert letter("OverflowError").has_error_class("DataError")


@pytest.mark.parametrize("name", ["conflict", "ConflictingDefinitionError", "SomeOlderError", ""])
def test_a_letter_does_not_have_another_error_class(name: str) -> None:
    assert not letter("invalid_event").has_error_class(name)


def test_an_unknown_name_selects_letters_with_exactly_this_name() -> None:
    assert letter("SomeOlderError").has_error_class("SomeOlderError")
    assert not letter("SomeOlderError").has_error_class("AnotherOlderError")


def test_a_letter_with_a_pointer_has_the_digest_of_its_event() -> None:
    event = b"x" * 100
    made = letter().letter
    pointing = letter(value=made.pointer(event))
    assert pointing.pointer is not None
    assert pointing.digest == letter(value=event).digest == hashlib.sha256(event).hexdigest()


def test_an_event_that_looks_like_a_pointer_is_not_one() -> None:
    elsewhere = DeadLetter.of(("pp-output", 3), 16, Cause.INVALID_EVENT, "the reason")
    assert letter(value=elsewhere.pointer(b"x")).pointer is None


def test_a_letters_name_is_its_partition_and_offset() -> None:
    assert str(letter().id) == "0-5"


async def test_an_event_that_was_set_aside_after_its_write_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is in the Butler, but was not announced: replay --all must send it again."""
    unchained, other = letter(), letter()
    unchained.letter.reason = "written, but 'run' cannot be in the chain 'chain': not a chain"
    unused: Any = None
    letters = DeadLetters(unused, unused)
    monkeypatch.setattr(dead_letters, "are_written", lambda _, values, limits: [True] * len(values))

    async def stored() -> AsyncIterator[StoredLetter]:
        yield unchained
        yield other

    monkeypatch.setattr(letters, "read", stored)
    presence: Any = object()
    pairs = [pair async for pair in letters.with_presence(stored(), lambda: presence)]
    assert pairs == [(unchained, False), (other, True)]


@pytest.mark.parametrize("cause", ["ends_worker", "skipped"])
async def test_a_harmful_event_is_decoded_for_none_of_its_letters(
    monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    """It was set aside for another cause first, and ended its worker when it was replayed."""
    event = b'{"harmful": true}'
    first, harmful, other = letter(value=event), letter(cause, event), letter()
    if cause == "ends_worker":
        harmful = replace(harmful, value=harmful.letter.pointer(event), points=True)
    unused: Any = None
    letters = DeadLetters(unused, unused)

    async def stored() -> AsyncIterator[StoredLetter]:
        for each in (first, harmful, other):
            yield each

    def found(_: Any, values: list[bytes | None], limits: EventLimits) -> list[bool]:
        assert event not in values
        return [value is not None for value in values]

    monkeypatch.setattr(letters, "read", stored)
    monkeypatch.setattr(dead_letters, "are_written", found)
    presence: Any = object()
    pairs = [pair async for pair in letters.with_presence(stored(), lambda: presence)]
    assert pairs == [(first, False), (harmful, False), (other, True)]
    assert [await letters.is_harmful(each) for each, _ in pairs] == [True, True, False]


def test_to_find_a_pointer_no_event_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters of earlier versions do not tell whether they have one."""
    monkeypatch.setattr(orjson, "loads", None)
    assert letter(value=b'{"harmful": true}').pointer is None
