"""The page of the dead letters, and the same as JSON."""

from __future__ import annotations

from typing import Any

from faust.web import Request, Response

from app import app
from app.butler.descriptions import describe_with_type
from app.kafka.errors import KafkaError
from app.operations.pages.letters import LetterDetailDocument, NewestLetters
from app.web.answers import JsonView, PageView

__all__ = ["LetterDocumentPage", "LetterPage", "LettersDocumentPage", "LettersPage"]

_letters = NewestLetters(
    app.connection,
    app.settings.kafka,
    # Messages of a product log have what is under embargo.
    shows_payloads=app.settings.service.web_payloads and app.settings.downstream.rules is None,
)


async def _detail(letter: str) -> tuple[LetterDetailDocument | None, str]:
    """Return one letter, or `None` and why."""
    try:
        found = await _letters.detail(letter)
    except TimeoutError:
        return None, "Kafka has not answered in time."
    except KafkaError as exc:
        return None, f"Kafka cannot be asked: {describe_with_type(exc)}."
    return found, "There is no dead letter of this name, or retention has removed it."


@app.page("/dead-letters", name="dead-letters")
class LettersPage(PageView):
    """The newest dead letters."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the page."""
        return self.page("letters", await _letters.newest(), page="dead-letters")


@app.page("/dead-letters/{letter}", name="dead-letter")
class LetterPage(PageView):
    """One dead letter."""

    async def get(self, request: Request, letter: str, **_: Any) -> Response:
        """Answer with the page, or 404."""
        found, reason = await _detail(letter)
        if found is None:
            return self.missing("dead-letters", reason)
        return self.page("letter", found, page="dead-letters", depth=1)


@app.page("/api/v1/dead-letters", name="api-dead-letters")
class LettersDocumentPage(JsonView):
    """The newest dead letters."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the letters."""
        return self.document(await _letters.newest())


@app.page("/api/v1/dead-letters/{letter}", name="api-dead-letter")
class LetterDocumentPage(JsonView):
    """One dead letter."""

    async def get(self, request: Request, letter: str, **_: Any) -> Response:
        """Answer with the letter and its event, or 404."""
        found, reason = await _detail(letter)
        return self.document(found or {"error": reason}, status=200 if found else 404)
