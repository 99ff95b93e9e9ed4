"""The base of our commands: it ends as soon as its work is done."""

from __future__ import annotations

from faust.cli.base import AppCommand
from mode import Worker

__all__ = ["PromptCommand"]


class _PromptWorker(Worker):
    async def _sentinel_task(self) -> None:
        """Do not wait a second for connections that others left open: commands close theirs."""


class PromptCommand(AppCommand):
    """A command whose process does not wait after its work."""

    abstract = True

    @property
    def _Worker(self) -> type[Worker]:  # noqa: N802 - Faust's name
        return _PromptWorker
