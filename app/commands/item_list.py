"""Prints what was checked, one line an item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from app.commands.output import Output
from app.operations.checks.items import Item, Verdict

__all__ = ["show_items"]


def show_items(output: Output, items: Sequence[Item]) -> int:
    """Print items, and return the exit code that they mean.

    Parameters
    ----------
    output : `Output`
        Prints them.
    items : `~collections.abc.Sequence` [`Item`]
        What was checked.
    """
    output.table(
        ("verdict", "item", "detail"), [(item.verdict, item.name, item.detail) for item in items]
    )
    verdicts = Counter(item.verdict for item in items)
    summary = {verdict.value: verdicts[verdict] for verdict in Verdict}
    counts = (f"{name.replace(' ', '-')}={n}" for name, n in summary.items())
    output.line(f"check: {' '.join(counts)}")
    output.document({"summary": summary, "items": [asdict(item) for item in items]})
    if verdicts[Verdict.WRONG]:
        return 1
    return 2 if any(i.verdict is Verdict.NOT_CHECKED and i.counts for i in items) else 0
