"""Alternated runs, and their statistics."""

from __future__ import annotations

import gc
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

__all__ = [
    "Stopwatch",
    "alternate",
    "log_nothing",
    "median_ratio",
    "quantile",
    "short",
    "spread",
    "stopwatch",
]


def log_nothing() -> None:
    """Keep the service's code in this process from logging: comparisons write bad events too."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@dataclass
class Stopwatch:
    """The time that a block took.

    Attributes
    ----------
    seconds : `float`
        From its start to its end.
    cpu : `float`
        Seconds of processor time of this process.
    """

    seconds: float = 0.0
    cpu: float = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Time a block, after a garbage collection, so that it does not pay for earlier blocks."""
    gc.collect()
    watch = Stopwatch()
    started, cpu = time.perf_counter(), time.process_time()
    yield watch
    watch.seconds, watch.cpu = time.perf_counter() - started, time.process_time() - cpu


def alternate(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run variants in turn, so that other load on the machine affects all alike.

    Parameters
    ----------
    contenders : `~collections.abc.Mapping` [`str`, `~collections.abc.Callable`]
        Each does its work once and returns what it measured.
    rounds : `int`
        Number of rounds; every second round runs backwards.

    Returns
    -------
    measured : `dict` [`str`, `list` [`float`]]
        The measurements of each variant, in the order of the rounds.
    """
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            measured[name].append(contenders[name]())
    return measured


def quantile(values: Sequence[float], fraction: float) -> float:
    """Return the value that a fraction of the values does not exceed.

    Raises
    ------
    ValueError
        If there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def median_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Return the ratio of two medians."""
    return statistics.median(over) / statistics.median(under)


def spread(values: Sequence[float]) -> str:
    """Return the median, and the smallest and largest value, as text."""
    middle = statistics.median(values)
    if len(values) == 1:
        return short(middle)
    return f"{short(middle)} ({short(min(values))} - {short(max(values))})"


def short(value: float) -> str:
    """Return a number with three significant digits, or with all digits before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
