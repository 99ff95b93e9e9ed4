"""Command line of the simulator: ``python -m simulator``."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from confluent_kafka import KafkaException
from psycopg import OperationalError
from rich.console import Console

from butler_writer_client import Mode, TransferError
from simulator.camera import DETECTORS
from simulator.demo import Demo, DemoError
from simulator.event import encode_event, event_of
from simulator.night import Night
from simulator.progress import pod_bars
from simulator.repository import make_repository
from simulator.sending import NoTopicError, Sender
from simulator.topics import make_topics
from testbed.cluster import Cluster

_FRACTION = click.FloatRange(0.0, 1.0)

Command = TypeVar("Command", bound=Callable[..., Any])


def _options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Combine several options into one decorator, in the order in which help shows them."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _night_options(visits: int, cadence: float) -> Callable[[Callable[..., Any]], Any]:
    """Add the options that describe a night; the command gets the night as ``night``."""
    add = _options(
        click.option("--visits", default=visits, type=click.IntRange(1), help="Number of visits."),
        click.option("--cadence", default=cadence, help="Seconds between two visits."),
        click.option(
            "--detectors",
            default=len(DETECTORS),
            type=click.IntRange(1, len(DETECTORS)),
            help="Number of detectors in each visit.",
        ),
        click.option("--stragglers", default=0.0, type=_FRACTION, help="Fraction of late pods."),
        click.option("--seed", default=1, help="Seed of the random numbers."),
        click.option(
            "--day-obs",
            default="2026-11-23",
            type=click.DateTime(["%Y-%m-%d"]),
            help="Day on which the night begins.",
        ),
    )

    def make_night(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_night(
            *,
            visits: int,
            cadence: float,
            detectors: int,
            stragglers: float,
            seed: int,
            day_obs: datetime,
            **others: Any,
        ) -> Any:
            night = Night(
                seed=seed,
                day_obs=f"{day_obs:%Y-%m-%d}",
                visits=visits,
                cadence=cadence,
                detectors=detectors,
                stragglers=stragglers,
            )
            return command(night=night, **others)

        return add(with_night)

    return make_night


_mishap_options = _options(
    click.option(
        "--duplicates", default=0.0, type=_FRACTION, help="Fraction of events sent twice."
    ),
    click.option(
        "--bad", default=0.0, type=_FRACTION, help="Fraction of events followed by a bad event."
    ),
)

_cluster_options = _options(
    click.option(
        "--bootstrap",
        envvar="KAFKA_CLUSTER",
        show_envvar=True,
        required=True,
        help="Bootstrap servers.",
    ),
    click.option(
        "--topic",
        default="pp-output",
        envvar="KAFKA_TOPIC",
        show_envvar=True,
        help="Topic of the events.",
    ),
)


def _root_option(*, exists: bool) -> Callable[[Command], Command]:
    return click.option(
        "--root",
        envvar="BUTLER_REPOSITORY",
        show_envvar=True,
        required=True,
        type=click.Path(exists=exists, file_okay=False, path_type=Path),
        help="Butler repository.",
    )


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Report an error of the servers or the disk in one line."""
    try:
        yield
    except KafkaException as exc:
        raise click.ClickException(f"Kafka: {exc.args[0].str()}") from exc
    except OperationalError as exc:
        raise click.ClickException(f"PostgreSQL: {' '.join(str(exc).split())}") from exc
    except (NoTopicError, OSError, TransferError) as exc:
        raise click.ClickException(str(exc)) from exc


@click.group(context_settings={"show_default": True})
def main() -> None:
    """Simulate a night of Prompt Processing."""


@main.command()
@_night_options(visits=3, cadence=6.0)
@click.option("--workers", default=1, type=click.IntRange(1), help="Workers that share the load.")
@click.option("--kafka", default="embedded", type=click.Choice(["embedded", "apache"]))
@click.option("--db", default="sqlite", type=click.Choice(["sqlite", "postgresql"]))
@click.option(
    "--mode",
    default=Mode.FINAL.value,
    type=click.Choice([mode.value for mode in Mode]),
    help="Where pods store their artifacts.",
)
@_mishap_options
@click.option("--keep", is_flag=True, help="Keep everything running until Ctrl-C.")
def demo(
    *,
    night: Night,
    workers: int,
    kafka: str,
    db: str,
    mode: str,
    duplicates: float,
    bad: float,
    keep: bool,
) -> None:
    """Write a night through real workers into a Butler, and check the Butler.

    The exit code is 0 only if every dataset that was sent is there, exactly once.
    """
    console = Console()
    rehearsal = Demo(
        night,
        workers=workers,
        apache_kafka=kafka == "apache",
        postgresql=db == "postgresql",
        mode=Mode(mode),
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
                console.print("press Ctrl-C to stop")
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
@_cluster_options
@click.option(
    "--output-topic",
    default="batch-ingested",
    envvar="KAFKA_OUTPUT_TOPIC",
    show_envvar=True,
    help="Topic of the announcements.",
)
@click.option(
    "--partitions",
    default=1,
    type=click.IntRange(1),
    help="Partitions of the input topic, if it is created.",
)
@_root_option(exists=False)
@click.option("--database", help="URL of a PostgreSQL database; default: SQLite.")
def prepare(
    *,
    bootstrap: str,
    topic: str,
    output_topic: str,
    partitions: int,
    root: Path,
    database: str | None,
) -> None:
    """Create missing topics and the repository."""
    with _in_one_line():
        for name in make_topics(
            Cluster(bootstrap), events=topic, announcements=output_topic, partitions=partitions
        ):
            click.echo(f"created topic {name}")
        if make_repository(root, database):
            click.echo(f"created repository {root}")


@main.command()
@_night_options(visits=3, cadence=6.0)
@_mishap_options
@_cluster_options
@_root_option(exists=True)
@click.option("--staging", help="Staging root of the artifacts; default: their final location.")
def send(
    *,
    night: Night,
    duplicates: float,
    bad: float,
    bootstrap: str,
    topic: str,
    root: Path,
    staging: str | None,
) -> None:
    """Simulate the pods of a night: store their artifacts and send their events."""
    sender = Sender(
        night, Cluster(bootstrap), topic, root, staging, duplicates=duplicates, spoiled=bad
    )
    with _in_one_line(), pod_bars(Console()) as progress:
        sent = progress.add_task("pods have sent", total=night.visits * night.detectors)
        sender.run(lambda: progress.update(sent, completed=sender.events))
        progress.update(sent, completed=sender.events)
    click.echo(
        f"night: events={sender.events} spoiled={sender.spoiled_events} messages={sender.messages}"
    )


@main.command()
@_night_options(visits=800, cadence=34.0)
def generate(*, night: Night) -> None:
    """Generate the events of a night without sending them, and print the rate."""
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
