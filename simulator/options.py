"""Options of the simulator's commands; values that cannot be right are refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from simulator.camera import DETECTORS
from simulator.night import Night

__all__ = [
    "cluster_options",
    "database_option",
    "mishap_options",
    "night_options",
    "output_topic_option",
    "partitions_option",
    "root_option",
    "staging_option",
    "workers_option",
]

#: Most visits: their numbers have five digits.
_MOST_VISITS = 99_999
#: Seconds between two visits: their groups are named after the millisecond of their begin.
_CADENCE = (0.01, 3600.0)
#: Longest night, in seconds.
_LONGEST_NIGHT = 24 * 3600.0
_MOST_WORKERS = 32
_MOST_PARTITIONS = 1000
#: Years in which the Butler has timespans.
_YEARS = range(1971, 2099)
_TOPIC_NAME = re.compile(r"(?!\.\.?$)[a-zA-Z0-9._-]{1,249}")

Command = TypeVar("Command", bound=Callable[..., Any])


class _Finite(click.FloatRange):
    """A range of numbers; click takes ``nan`` for a number of every range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number in the range {self._describe_range()}.", param, ctx)
        return float(number)


class _Text(click.ParamType):
    """A text that matches a pattern."""

    name = "text"

    def __init__(self, pattern: re.Pattern[str], what: str) -> None:
        self._pattern = pattern
        self._what = what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        if not self._pattern.fullmatch(value):
            self.fail(f"{value!r} is not {self._what}.", param, ctx)
        return str(value)


class _Folder(click.Path):
    """A folder; click takes an empty name for the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not str(value):
            self.fail("the name is empty.", param, ctx)
        return super().convert(value, param, ctx)


_FRACTION = _Finite(0.0, 1.0)


def _options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Combine several options into one decorator, in the order in which help shows them."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def night_options(visits: int, cadence: float) -> Callable[[Callable[..., Any]], Any]:
    """Add the options that describe a night; the command gets the night as ``night``."""
    add = _options(
        click.option(
            "--visits",
            default=visits,
            type=click.IntRange(1, _MOST_VISITS),
            help="Number of visits.",
        ),
        click.option(
            "--cadence",
            default=cadence,
            type=_Finite(*_CADENCE),
            help="Seconds between two visits.",
        ),
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
            if visits * cadence > _LONGEST_NIGHT:
                raise click.BadParameter(
                    f"{visits} visits every {cadence:g} s are longer than a day.",
                    param_hint="'--visits' and '--cadence'",
                )
            if day_obs.year not in _YEARS:
                raise click.BadParameter(
                    f"the year is not between {_YEARS.start} and {_YEARS.stop - 1}.",
                    param_hint="'--day-obs'",
                )
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


mishap_options = _options(
    click.option(
        "--duplicates", default=0.0, type=_FRACTION, help="Fraction of events sent twice."
    ),
    click.option(
        "--bad", default=0.0, type=_FRACTION, help="Fraction of events followed by a bad event."
    ),
)

_topic_name = _Text(_TOPIC_NAME, "the name of a topic (letters, digits, '.', '_' and '-')")

cluster_options = _options(
    click.option(
        "--bootstrap",
        envvar="KAFKA_CLUSTER",
        show_envvar=True,
        required=True,
        type=_Text(re.compile(r"[^\s,]+(, *[^\s,]+)*"), "host:port,..."),
        help="Bootstrap servers.",
    ),
    click.option(
        "--topic",
        default="pp-output",
        envvar="KAFKA_TOPIC",
        show_envvar=True,
        type=_topic_name,
        help="Topic of the events.",
    ),
)

output_topic_option = click.option(
    "--output-topic",
    default="batch-ingested",
    envvar="KAFKA_OUTPUT_TOPIC",
    show_envvar=True,
    type=_topic_name,
    help="Topic of the announcements.",
)

partitions_option = click.option(
    "--partitions",
    default=1,
    type=click.IntRange(1, _MOST_PARTITIONS),
    help="Partitions of the input topic, if it is created.",
)

workers_option = click.option(
    "--workers",
    default=1,
    type=click.IntRange(1, _MOST_WORKERS),
    help="Workers that share the load.",
)

database_option = click.option(
    "--database",
    type=_Text(re.compile(r"postgres(ql)?://\S+"), "a URL, postgresql://user@host:port/database"),
    help="URL of a PostgreSQL database; default: SQLite.",
)

staging_option = click.option(
    "--staging",
    type=_Text(re.compile(r".*\S.*"), "a folder or a URI"),
    help="Staging root of the artifacts; default: their final location.",
)


def root_option(*, exists: bool) -> Callable[[Command], Command]:
    """Return the option of the repository."""
    return click.option(
        "--root",
        envvar="BUTLER_REPOSITORY",
        show_envvar=True,
        required=True,
        type=_Folder(exists=exists, file_okay=False, path_type=Path),
        help="Butler repository.",
    )
