"""Command line of the benchmarks: ``python -m bench``."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from bench import report
from bench.comparisons import (
    browsers,
    database,
    downstream,
    end_to_end,
    extremes,
    network,
    product_log,
    s3,
    scaling,
    staging,
    transfer,
    waiting,
    window_size,
    windows,
    write_path,
)
from bench.measuring import log_nothing, short
from bench.result import Result

#: Comparisons that ``--quick`` skips.
LONG = {
    "browsers",
    "downstream",
    "extremes",
    "network",
    "product_log",
    "s3",
    "staging",
    "transfer",
    "waiting",
    "window_size",
}

COMPARISONS: dict[str, Callable[..., Result]] = {
    "write_path": write_path.run,
    "windows": windows.run,
    "database": database.run,
    "end_to_end": end_to_end.run,
    "scaling": scaling.run,
    "window_size": window_size.run,
    "network": network.run,
    "s3": s3.run,
    "staging": staging.run,
    "transfer": transfer.run,
    "browsers": browsers.run,
    "product_log": product_log.run,
    "downstream": downstream.run,
    "waiting": waiting.run,
    "extremes": extremes.run,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(COMPARISONS)))
@click.option("--quick", is_flag=True, help="Seven minutes instead of about an hour.")
def main(*, names: tuple[str, ...], quick: bool) -> None:
    """Run comparisons (by default all), update the documents, and print the figures."""
    log_nothing()
    results: list[Result] = []
    for name in names or [name for name in COMPARISONS if not (quick and name in LONG)]:
        started = time.monotonic()
        result = COMPARISONS[name](quick=quick)
        result.quick = quick
        file = result.save()
        for table in result.tables:
            click.echo(table.markdown)
        click.echo(f"{file} ({time.monotonic() - started:.0f} s)\n")
        results.append(result)
    is_whole = quick and not names
    report.update_documents([*results, report.closing(results)] if is_whole else results)
    for result in results:
        for name, value in result.figures.items():
            click.echo(f"{name}={short(value)}")


if __name__ == "__main__":
    main(prog_name="python -m bench")
