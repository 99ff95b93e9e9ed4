"""The page of the dead letters, and the same as JSON."""

from __future__ import annotations

import asyncio
from typing import Any

from faust.web import Request, Response

from app import app
from app.butler.descriptions import describe_with_type
from app.kafka.errors import KafkaError, TopicError
from app.kafka.private.web_server import call_at_stop
from app.operations.pages.letters.detail import LetterDetails
from app.operations.pages.letters.documents import LetterDetailDocument
from app.operations.pages.letters.newest import NewestLetters
from app.operations.pages.letters.reader import LetterReader
from app.web.answers import JsonView, PageView
from app.web.service import service

__all__ = ["LetterDocumentPage", "LetterPage", "LettersDocumentPage", "LettersPage"]

_reader = LetterReader(app.connection, app.settings.kafka)
_newest = NewestLetters(_reader)
_details = LetterDetails(
    _reader,
    # Messages of a product log have what is under embargo.
    shows_payloads=app.settings.service.web_payloads and app.settings.downstream.rules is None,
)

call_at_stop(app, _reader.close)


async def _detail(letter: str) -> tuple[LetterDetailDocument | None, int, str]:
    """Return one letter; or `None`, the status and why."""
    missing = "There is no dead letter of this name, or retention has removed it."
    try:
        found = await _details.get(letter)
    except TimeoutError:
        return None, 503, "Kafka has not answered in time."
    except TopicError:
        return None, 404, missing
    except KafkaError as exc:
        return None, 503, f"Kafka cannot be asked: {describe_with_type(exc)}."
    return found, 200 if found else 404, missing


@app.page("/dead-letters", name="dead-letters")
class LettersPage(PageView):
    """The newest dead letters."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the page."""
        # At the same time, since each waits for Kafka.
        overview, shown = await asyncio.gather(service.overview(), _newest.get())
        return self.page("letters", shown, page="dead-letters", state=overview.state)


@app.page("/dead-letters/{letter}", name="dead-letter")
class LetterPage(PageView):
    """One dead letter."""

    async def get(self, request: Request, letter: str, **_: Any) -> Response:
        """Answer with the page, or 404; 503 if Kafka does not answer."""
        found, status, reason = await _detail(letter)
        if found is None:
            return self.missing("dead-letters", reason, status=status)
        return self.page("letter", found, page="dead-letters", depth=1)


@app.page("/api/v1/dead-letters", name="api-dead-letters")
class LettersDocumentPage(JsonView):
    """The newest dead letters."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the letters."""
        return self.document(await _newest.get())


@app.page("/api/v1/dead-letters/{letter}", name="api-dead-letter")
class LetterDocumentPage(JsonView):
    """One dead letter."""

    async def get(self, request: Request, letter: str, **_: Any) -> Response:
        """Answer with the letter and its event, or 404; 503 if Kafka does not answer."""
        found, status, reason = await _detail(letter)
        return self.document(found or {"error": reason}, status=status)
