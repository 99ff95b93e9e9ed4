"""The page of the chains, and the same as JSON."""

from __future__ import annotations

from typing import Any

from faust.web import Request, Response

from app import app
from app.operations.pages.asking import NoAnswer
from app.operations.pages.cached import Cached
from app.operations.pages.chains import ChainDocument, KeptChains, kept_chain, kept_chains
from app.web.answers import JsonView, PageView
from app.web.service import service

__all__ = [
    "ChainDocumentPage",
    "ChainPage",
    "ChainsDocumentPage",
    "ChainsPage",
    "StateChainsPage",
]


async def _find_kept() -> KeptChains:
    return kept_chains(is_known=app.status.keeps_chains)


_kept = Cached(_find_kept)


async def _chain(name: str) -> tuple[ChainDocument | None, int, str]:
    """Return one chain; or `None`, the status and why."""
    found = await service.chain(name)
    if isinstance(found, NoAnswer):
        return None, 503, str(found)
    return found, 200 if found else 404, "The table has no chain of this name."


@app.page("/state/chains", name="state-chains")
class StateChainsPage(JsonView):
    """The chains that this worker keeps."""

    async def get(self, request: Request, **_: Any) -> Response:
        """Answer with the chains; with the question ``name``, with this chain or with null.

        The name is not part of the path, since clients take ``..`` in a path for a way up.
        """
        name = request.query.get("name")
        return self.document(await _kept.get() if name is None else kept_chain(name))


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
        """Answer with the page, or 404; 503 if the worker that keeps it does not answer."""
        depth = request.rel_url.raw_path.count("/") - 1
        found, status, reason = await _chain(chain)
        state = (await service.overview()).state
        if found is None:
            return self.missing("chains", reason, depth, status, state)
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
        """Answer with the chain, or 404; 503 if the worker that keeps it does not answer."""
        found, status, reason = await _chain(chain)
        return self.document(found or {"error": reason}, status=status)
