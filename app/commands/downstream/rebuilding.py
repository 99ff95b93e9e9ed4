"""``faust -A app products rebuild``: writes the product log anew."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import asdict

from app import app
from app.announce.product_log import ProductLog
from app.butler.private.ingest_dates import Period
from app.butler.products.stored_products import StoredProducts
from app.commands.operator_command import CommandError, read_only_butler
from app.commands.output import Output
from app.operations.products.rebuilding import log_sender, rebuild
from app.operations.products.selected_runs import chains_of_runs, select_runs

__all__ = ["rebuild_log"]


async def rebuild_log(
    output: Output, patterns: tuple[str, ...], period: Period, *, dry_run: bool
) -> bool:
    """Write messages about stored datasets; return whether some cannot be described."""
    if not patterns and period == Period():
        raise CommandError("give --run or --since: which datasets to log")
    butler = read_only_butler()
    stored = StoredProducts(butler)
    runs = chains_of_runs(
        butler,
        stored,
        select_runs(patterns, butler),
        period,
        app.settings.write.chain_pattern,
    )
    done = []
    async with AsyncExitStack() as stack:
        show_progress = stack.enter_context(output.progress("runs"))
        log, sender = ProductLog(app.settings.kafka.max_message_bytes), None
        if not dry_run:
            sender, log = await stack.enter_async_context(
                log_sender(app.connection, app.settings.kafka)
            )
        for number, run in enumerate(runs, 1):
            done.append(await rebuild(stored, run, period, log, sender))
            show_progress(number, len(runs))
    rows = [asdict(each) for each in done if each.datasets or each.left_out]
    names = ("run", "datasets", "messages", "bytes", "left_out")
    if rows:
        output.table(
            [name.replace("_", " ") for name in names],
            [[row[name] for name in names] for row in rows],
        )
    summary: dict[str, int] = {
        "runs": len(rows),
        **{n: sum(row[n] for row in rows) for n in names[1:]},
    }
    output.line("rebuild: " + " ".join(f"{name}={count}" for name, count in summary.items()))
    output.line("nothing was sent (--dry-run)" if dry_run else "sent to the product log")
    output.document({"done": not dry_run, "summary": summary, "runs": rows})
    return summary["left_out"] > 0
