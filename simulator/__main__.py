"""Command line of the simulator: ``python -m simulator``."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from rich.console import Console

from simulator.camera import DETECTORS
from simulator.demo import Demo, DemoError
from simulator.event import encode_event, event_of
from simulator.night import Night

_FRACTION = click.FloatRange(0.0, 1.0)


def _night_options(visits: int, cadence: float) -> Callable[[Callable[..., Any]], Any]:
    """Add the options that make a night; the command gets it as ``night``."""
    options = [
        click.option("--visits", default=visits, type=click.IntRange(1), help="How many visits."),
        click.option("--cadence", default=cadence, help="Seconds between two visits."),
        click.option(
            "--detectors",
            default=len(DETECTORS),
            type=click.IntRange(1, len(DETECTORS)),
            help="How many detectors of each visit.",
        ),
        click.option("--stragglers", default=0.0, type=_FRACTION, help="Fraction of late pods."),
        click.option("--seed", default=1, help="Decides what is left to chance."),
    ]

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_night(
            *,
            visits: int,
            cadence: float,
            detectors: int,
            stragglers: float,
            seed: int,
            **others: Any,
        ) -> Any:
            night = Night(
                seed=seed,
                visits=visits,
                cadence=cadence,
                detectors=detectors,
                stragglers=stragglers,
            )
            return command(night=night, **others)

        decorated: Callable[..., Any] = with_night
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return add


@click.group(context_settings={"show_default": True})
def main() -> None:
    """Simulate a night of Prompt Processing."""


@main.command()
@_night_options(visits=3, cadence=6.0)
@click.option("--workers", default=1, type=click.IntRange(1), help="Workers that share the load.")
@click.option("--kafka", default="embedded", type=click.Choice(["embedded", "apache"]))
@click.option("--db", default="sqlite", type=click.Choice(["sqlite", "postgresql"]))
@click.option("--duplicates", default=0.0, type=_FRACTION, help="Fraction of events sent twice.")
@click.option("--bad", default=0.0, type=_FRACTION, help="Fraction that a spoiled event joins.")
@click.option("--keep", is_flag=True, help="Leave it running until Ctrl-C.")
def demo(
    *, night: Night, workers: int, kafka: str, db: str, duplicates: float, bad: float, keep: bool
) -> None:
    """Run a night through real workers into a Butler, and check what the Butler has.

    The exit code is 0 only if every dataset that was sent is there, exactly once.
    """
    console = Console()
    rehearsal = Demo(
        night,
        workers=workers,
        apache_kafka=kafka == "apache",
        postgresql=db == "postgresql",
        duplicates=duplicates,
        spoiled=bad,
        console=console,
    )
    try:
        with rehearsal:
            for worker in rehearsal.running:
                console.print(f"worker: {worker.url}/state", highlight=False)
            rehearsal.run()
            outcome = rehearsal.finish()
            for complaint in outcome.complaints:
                console.print(f"FAILED: {complaint}", style="red", highlight=False)
            console.print(outcome.line, highlight=False, soft_wrap=True)
            if keep:
                console.print("Ctrl-C ends it")
                while True:
                    time.sleep(1)
    except DemoError as exc:
        console.print(f"FAILED: {exc}", style="red", highlight=False, markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("stopped")
        sys.exit(0 if keep else 130)
    sys.exit(1 if outcome.complaints else 0)


@main.command()
@_night_options(visits=800, cadence=34.0)
def generate(*, night: Night) -> None:
    """Make the events of a night, send them nowhere, and say how fast that goes."""
    started = time.monotonic()
    events = size = 0
    for _, pod in night.pods():
        size += len(encode_event(event_of(pod)))
        events += 1
    seconds = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    click.echo(
        f"night: events={events} bytes={size} seconds={seconds:.1f} "
        f"events_per_s={events / seconds:.0f} max_memory_MiB={memory}"
    )


if __name__ == "__main__":
    main(prog_name="python -m simulator")
