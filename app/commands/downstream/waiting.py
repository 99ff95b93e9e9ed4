"""``faust -A app products waiting``: what becomes available when."""

from __future__ import annotations

from app import app
from app.commands.downstream.selection import downstream_settings
from app.commands.output import Output, utc
from app.operations.products.kept import Kept, read_kept

__all__ = ["show_waiting"]

_SECOND = 1_000_000_000


async def show_waiting(output: Output) -> bool:
    """Print what waits, by hour and type; return whether an operator has to add a rule."""
    kafka = downstream_settings()
    kept = await read_kept(app.connection, kafka, app.settings.downstream.rules_id)
    hours = [
        (utc(hour / _SECOND), name, number)
        for hour, numbers in kept.index.by_hour().items()
        for name, number in sorted(numbers.items())
    ]
    held = dict(sorted(kept.index.held.items()))
    if hours:
        output.table(("due within the hour from", "dataset type", "datasets"), hours)
    for name, number in held.items():
        output.line(f"held: {number} of {name}: an embargo, and no known end of the observation")
    for name in kept.unruled:
        output.line(f"no rule: {name}")
    output.line(_summary(kept, sum(number for *_, number in hours), sum(held.values())))
    output.document(
        {
            "waiting": [
                {"hour": hour, "dataset_type": name, "datasets": number}
                for hour, name, number in hours
            ],
            "held": held,
            "no_rule": kept.unruled,
            "messages": len(kept.index),
            "by_other_rules": kept.by_other_rules,
        }
    )
    return bool(held or kept.unruled)


def _summary(kept: Kept, waiting: int, held: int) -> str:
    counts = {
        "waiting": waiting,
        "held": held,
        "types-without-rule": len(kept.unruled),
        "messages": len(kept.index),
        "by-other-rules": kept.by_other_rules,
    }
    return "waiting: " + " ".join(f"{name}={count}" for name, count in counts.items())
