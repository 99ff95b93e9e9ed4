"""Progress bars."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["pod_bars"]


def pod_bars(console: Console) -> Progress:
    """Return a display for bars that count pods (use it in a ``with`` statement)."""
    columns = (TextColumn("{task.description:>22}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console)
