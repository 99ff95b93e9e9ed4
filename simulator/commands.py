"""The simulator's commands."""

from __future__ import annotations

import errno
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import psycopg
from click.core import ParameterSource
from confluent_kafka import KafkaException
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from butler_writer_client import Mode, TransferError
from simulator.demo import Demo
from simulator.downstream import EMBARGO
from simulator.event import encode_event, event_of
from simulator.keeping import description, drop_ended
from simulator.night import Night
from simulator.options import (
    cluster_options,
    database_option,
    mishap_options,
    night_options,
    output_topic_option,
    partitions_option,
    root_option,
    staging_option,
    workers_option,
)
from simulator.outcome import Outcome
from simulator.progress import pod_bars
from simulator.repository import make_empty_repository, make_repository
from simulator.sending import NoTopicError, Sender
from simulator.topics import make_topics
from simulator.watch import DemoError
from testbed.availability import ServerUnavailableError
from testbed.cluster import Cluster

__all__ = ["main"]

#: Signals that ask the demo to stop.
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: What servers and disks can refuse: reported in one line.
_FAILURES = (
    DemoError,
    KafkaException,
    ModuleNotFoundError,
    NoTopicError,
    OSError,
    ServerUnavailableError,
    SQLAlchemyError,
    TransferError,
    ValueError,
    psycopg.Error,
)


def _in_one_line(error: BaseException) -> str:
    """Return an error's text: the first line, and of a server's output the last one."""
    if isinstance(error, KafkaException):
        return f"Kafka: {error.args[0].str()}"
    if isinstance(error, psycopg.Error):
        return f"PostgreSQL: {' '.join(str(error).split())}"
    if isinstance(error, SQLAlchemyError):
        return f"the repository's database: {str(error).splitlines()[0]}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{error}: free some space in {tempfile.gettempdir()}, or set TMPDIR"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:1] + lines[1:][-1:]).rstrip(":") or type(error).__name__


@contextmanager
def _failing_in_one_line() -> Iterator[None]:
    """Report an error of the servers or the disk in one line."""
    try:
        yield
    except _FAILURES as exc:
        raise click.ClickException(_in_one_line(exc)) from exc


@click.group(context_settings={"show_default": True})
def main() -> None:
    """Simulate a night of Prompt Processing."""


@main.command()
@night_options(visits=3, cadence=6.0)
@workers_option
@click.option("--kafka", default="embedded", type=click.Choice(["embedded", "apache"]))
@click.option("--db", default="sqlite", type=click.Choice(["sqlite", "postgresql"]))
@click.option(
    "--mode",
    default=Mode.FINAL.value,
    type=click.Choice([mode.value for mode in Mode]),
    help="Where pods store their artifacts.",
)
@mishap_options
@click.option(
    "--downstream",
    is_flag=True,
    help=f"Fill a second repository too, behind an embargo of {EMBARGO} s. The night is today's.",
)
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
    downstream: bool,
    keep: bool,
) -> None:
    """Write a night through real workers into a Butler, and check the Butler.

    The exit code is 0 only if every dataset that was sent is there, exactly once.
    """
    context = click.get_current_context()
    if downstream and context.get_parameter_source("day_obs") is not ParameterSource.DEFAULT:
        raise click.UsageError("--downstream and --day-obs do not go together: it is today's night")
    console = Console()
    rehearsal = Demo(
        night,
        workers=workers,
        apache_kafka=kafka == "apache",
        postgresql=db == "postgresql",
        mode=Mode(mode),
        duplicates=duplicates,
        spoiled=bad,
        with_downstream=downstream,
        console=console,
    )
    try:
        with _as_after_ctrl_c(), rehearsal, _uninterrupted_at_the_end():
            outcome = _rehearse(rehearsal, console, keep=keep)
        if keep:
            console.print("stopped")
    except _FAILURES as exc:
        text = f"FAILED: {_in_one_line(exc)}"
        console.print(text, style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("stopped")
        sys.exit(130)
    sys.exit(1 if outcome.complaints else 0)


def _rehearse(rehearsal: Demo, console: Console, *, keep: bool) -> Outcome:
    """Run the demo and print its outcome; keep it running until Ctrl-C on request."""
    for worker in rehearsal.running:
        console.print(f"worker: {worker.url}/", highlight=False, soft_wrap=True)
    if rehearsal.downstream is not None:
        url = rehearsal.downstream.worker.url
        console.print(f"downstream worker: {url}/", highlight=False, soft_wrap=True)
    rehearsal.run()
    outcome = rehearsal.finish()
    for complaint in outcome.complaints:
        console.print(f"FAILED: {complaint}", style="red", highlight=False, soft_wrap=True)
    console.print(outcome.line, highlight=False, soft_wrap=True)
    if keep:
        console.print(description(rehearsal), highlight=False, markup=False, soft_wrap=True)
        console.print("press Ctrl-C to stop")
        try:
            while True:
                for line in drop_ended(rehearsal):
                    console.print(line, style="yellow", highlight=False, soft_wrap=True)
                rehearsal.watch.check()
                time.sleep(1)
        except KeyboardInterrupt:
            console.print("stopping, and removing what the night has made", soft_wrap=True)
    return outcome


@contextmanager
def _as_after_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, and a terminal that is closed, stop the demo as Ctrl-C does."""
    before = {number: signal.getsignal(number) for number in _STOPS}
    for number in _STOPS:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _uninterrupted_at_the_end() -> Iterator[None]:
    """Ignore Ctrl-C while everything is stopped, so that nothing is left."""
    try:
        yield
    finally:
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)


@main.command()
@cluster_options
@output_topic_option
@partitions_option
@root_option(exists=False)
@database_option
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
    with _failing_in_one_line():
        for name in make_topics(
            Cluster(bootstrap), events=topic, announcements=output_topic, partitions=partitions
        ):
            click.echo(f"created topic {name}")
        if make_repository(root, database):
            click.echo(f"created repository {root}")


@main.command()
@root_option(exists=False)
@database_option
def create(*, root: Path, database: str | None) -> None:
    """Create an empty repository, unless there is one: a downstream repository begins so."""
    with _failing_in_one_line():
        if make_empty_repository(root, database):
            click.echo(f"created repository {root}")


@main.command()
@night_options(visits=3, cadence=6.0)
@mishap_options
@cluster_options
@root_option(exists=True)
@staging_option
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
    with _failing_in_one_line(), pod_bars(Console()) as progress:
        sender = Sender(
            night, Cluster(bootstrap), topic, root, staging, duplicates=duplicates, spoiled=bad
        )
        sent = progress.add_task("pods have sent", total=night.visits * night.detectors)
        sender.run(lambda: progress.update(sent, completed=sender.events))
        progress.update(sent, completed=sender.events)
    click.echo(
        f"night: events={sender.events} spoiled={sender.spoiled_events} messages={sender.messages}"
    )


@main.command()
@night_options(visits=800, cadence=34.0)
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
