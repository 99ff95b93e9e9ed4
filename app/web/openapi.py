"""Describes the JSON below ``/api/v1`` to programs, from the same classes that it is made of."""

from __future__ import annotations

from functools import cache
from typing import Any

from faust.web import Request, Response
from pydantic import TypeAdapter

from app import app
from app.installation import own_version
from app.operations.pages.about_document import AboutDocument
from app.operations.pages.activity import ActivityDocument
from app.operations.pages.chains import ChainDocument, ChainsDocument
from app.operations.pages.documents import (
    OverviewDocument,
    WindowDocument,
    WindowsDocument,
    WorkersDocument,
)
from app.operations.pages.letters.documents import LetterDetailDocument, LettersDocument
from app.operations.pages.settings_document import SettingsDocument
from app.operations.pages.waiting import WaitingDocument
from app.web.answers import JsonView

__all__ = ["OpenApiPage"]

#: What each path answers with, and what that is.
_DOCUMENTS: dict[str, tuple[type, str]] = {
    "/api/v1/overview": (OverviewDocument, "The whole service"),
    "/api/v1/activity": (ActivityDocument, "What was finished in the last half hour"),
    "/api/v1/windows": (WindowsDocument, "The last flushes of all workers"),
    "/api/v1/windows/{batch_id}": (WindowDocument, "One flush and its events"),
    "/api/v1/chains": (ChainsDocument, "All chains of the table"),
    "/api/v1/chains/{chain}": (ChainDocument, "One chain"),
    "/api/v1/dead-letters": (LettersDocument, "The newest dead letters"),
    "/api/v1/dead-letters/{letter}": (LetterDetailDocument, "One dead letter with its event"),
    "/api/v1/waiting": (WaitingDocument, "What waits for a downstream repository"),
    "/api/v1/workers": (WorkersDocument, "All workers"),
    "/api/v1/settings": (SettingsDocument, "The settings of this worker"),
    "/api/v1/about": (AboutDocument, "What runs here"),
}

#: Only workers that fill a downstream repository have these.
_DOWNSTREAM = {"/api/v1/waiting"}


@app.page("/api/v1/openapi.json", name="openapi")
class OpenApiPage(JsonView):
    """The description of the JSON."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with an OpenAPI document."""
        return self.document(_description())


@cache
def _description() -> dict[str, Any]:
    schemas, shared = TypeAdapter.json_schemas(
        [(path, "serialization", TypeAdapter(kind)) for path, (kind, _) in _DOCUMENTS.items()],
        ref_template="#/components/schemas/{model}",
    )
    components: dict[str, Any] = shared["$defs"]
    for schema in components.values():
        if "properties" in schema:  # all fields are always there, and no others
            schema["required"] = list(schema["properties"])
            schema["additionalProperties"] = False
    return {
        "openapi": "3.1.0",
        "info": {"title": "Butler Writer", "version": own_version()},
        "servers": [{"url": "../.."}],  # relative to this document, so below a prefix too
        "paths": {
            path: {"get": _operation(path, summary, schemas[path, "serialization"])}
            for path, (_, summary) in _DOCUMENTS.items()
        },
        "components": {"schemas": components},
    }


def _operation(path: str, summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    found = {"description": summary, "content": {"application/json": {"schema": schema}}}
    operation: dict[str, Any] = {"summary": summary, "responses": {"200": found}}
    if "{" in path:
        name = path.rpartition("{")[2].rstrip("}")
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        ]
        operation["responses"]["404"] = {"description": "It is not there, or not any more"}
    if path in _DOWNSTREAM:
        operation["responses"]["404"] = {"description": "It fills no downstream repository"}
    return operation
