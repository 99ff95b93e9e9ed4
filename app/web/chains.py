"""The page of the chains, and the same as JSON."""

from __future__ import annotations

from typing import Any

from faust.web import Request, Response

from app import app
from app.operations.pages.chains import own_chains
from app.web.answers import JsonView, PageView
from app.web.service import service

__all__ = [
    "ChainDocumentPage",
    "ChainPage",
    "ChainsDocumentPage",
    "ChainsPage",
    "StateChainsPage",
]

_MISSING = "The table has no chain of this name, or the worker that keeps it does not answer."


@app.page("/state/chains", name="state-chains")
class StateChainsPage(JsonView):
    """The chains that this worker keeps."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the chains."""
        return self.document(own_chains())


@app.page("/chains", name="chains")
class ChainsPage(PageView):
    """All chains."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the page."""
        state = (await service.overview()).state
        return self.page("chains", await service.chains(), page="chains", state=state)


@app.page("/chains/{chain:.+}", name="chain")
class ChainPage(PageView):
    """One chain; its name may have slashes."""

    async def get(self, request: Request, chain: str, **_: Any) -> Response:
        """Answer with the page, or 404."""
        depth = request.url.raw_path.count("/") - 1
        found = (await service.chains()).named(chain)
        if found is None:
            return self.missing("chains", _MISSING, depth)
        state = (await service.overview()).state
        return self.page("chain", found, page="chains", depth=depth, state=state)


@app.page("/api/v1/chains", name="api-chains")
class ChainsDocumentPage(JsonView):
    """All chains."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the chains."""
        return self.document(await service.chains())


@app.page("/api/v1/chains/{chain:.+}", name="api-chain")
class ChainDocumentPage(JsonView):
    """One chain."""

    async def get(self, request: Request, chain: str, **_: Any) -> Response:
        """Answer with the chain, or 404."""
        found = (await service.chains()).named(chain)
        return self.document(found or {"error": _MISSING}, status=200 if found else 404)
