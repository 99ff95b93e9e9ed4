"""Every code that a page shows is explained on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.operations.pages.documents import WindowDocument
from app.operations.pages.letters.documents import LetterDetailDocument, LettersDocument
from app.telemetry.labels import Step
from app.telemetry.recent.flushes import EventResult, FlushResult
from app.web.rendering import _environment, render
from models.causes import Cause
from tests.unit.web.documents import every_page


def words(name: str) -> dict[str, str]:
    """Return the meanings of a kind of code."""
    module = _environment().get_template("words.html").module
    found: dict[str, str] = getattr(module, name)
    return found


def test_every_code_has_a_meaning() -> None:
    assert set(words("causes")) == set(map(str, Cause))
    assert set(words("step_words")) == set(map(str, Step))
    assert set(words("results")) == {*map(str, EventResult), *map(str, FlushResult), "postponed"}


def test_the_states_of_a_worker_are_those_of_its_badge() -> None:
    macros = _environment().loader.get_source(_environment(), "parts.html")[0]  # type: ignore[union-attr]
    badge = macros.partition("macro state_badge")[2].partition("endmacro")[0]
    assert set(words("states")) == {
        part.partition("</span>")[0].partition('">')[2] for part in badge.split("<span")[1:]
    }


@pytest.mark.parametrize(
    ("template", "kinds"),
    [
        ("overview", ["states", "step_words"]),
        ("workers", ["states", "step_words"]),
        ("windows", ["results", "step_words"]),
        ("window", ["results", "step_words"]),
    ],
)
def test_a_page_explains_the_codes_that_it_shows(template: str, kinds: list[str]) -> None:
    document, options = every_page("x")[template]
    html = render(template, shown=document, is_downstream=True, **options)
    for kind in kinds:
        for word, meaning in words(kind).items():
            assert f"<dt>{word}</dt><dd>{meaning}</dd>" in html


def test_a_cause_is_explained_wherever_it_is_shown() -> None:
    cause = str(Cause.OVER_LIMIT)
    meaning = words("causes")[cause]
    pages = every_page("x")
    for template in ("window", "letters", "letter"):
        document, options = pages[template]
        if isinstance(document, WindowDocument):
            events = [replace(each, cause=each.cause and cause) for each in document.events]
            document = replace(document, events=events)
        elif isinstance(document, LettersDocument):
            document = replace(document, causes={cause: 1})
        else:
            assert isinstance(document, LetterDetailDocument)
            document = replace(document, letter=replace(document.letter, cause=cause))
        html = render(template, shown=document, **options)
        assert meaning in html
        assert words("causes")[Cause.CONFLICT] not in html
