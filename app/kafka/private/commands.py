"""Commands that end as soon as their work is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faust
from faust.cli.base import AppCommand
from mode import Worker

__all__ = ["AppWithPromptCommands"]


class _Worker(Worker):
    async def _sentinel_task(self) -> None:
        """Do not wait a second for connections that others left open: commands close theirs."""


class _Command(AppCommand):
    abstract = True

    @property
    def _Worker(self) -> type[Worker]:  # noqa: N802 - Faust's name
        return _Worker


class AppWithPromptCommands(faust.App):
    """A Faust application whose commands do not wait after their work."""

    def command(
        self, *options: Any, base: type[AppCommand] | None = None, **kwargs: Any
    ) -> Callable[[Callable[..., Any]], type[AppCommand]]:
        """Make a command."""
        return super().command(*options, base=base or _Command, **kwargs)
