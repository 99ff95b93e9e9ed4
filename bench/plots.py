"""Curves, as SVG."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "butler-writer"  # the same figures must give the same file

from matplotlib import pyplot as plt  # noqa: E402 - after the choice of how to draw

from bench.measuring import quantile  # noqa: E402
from bench.result import Result  # noqa: E402

__all__ = ["draw"]

_WRITE_PATH = re.compile(r"(?P<events>\d+) events of (?P<datasets>\d+) datasets(?P<into>.*)")


def draw(results: Iterable[Result], folder: Path) -> None:
    """Draw the curves of all results into a folder."""
    folder.mkdir(exist_ok=True)
    for result in results:
        if (plot := _PLOTS.get(result.name)) is not None:
            plot(result, folder)


def _write_path(result: Result, folder: Path) -> None:
    """Draw rate and time against the window's size, for each way to write."""
    curves: dict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    for name, raw in result.raw.items():
        if (match := _WRITE_PATH.fullmatch(name)) is None:
            continue
        for contender, seconds in raw["seconds"].items():
            label = f"{contender}, {match['datasets']} datasets{match['into']}"
            middle = median(seconds)
            curves[label][int(match["events"])] = raw["datasets"] / middle, middle
    figure, (rates, times) = plt.subplots(1, 2, figsize=(11, 4.5))
    for label, points in curves.items():
        sizes = sorted(points)
        rates.plot(sizes, [points[size][0] for size in sizes], marker="o", label=label)
        times.plot(sizes, [points[size][1] for size in sizes], marker="o", label=label)
    for axes, title in ((rates, "datasets/s"), (times, "seconds per window")):
        axes.set(xscale="log", yscale="log", xlabel="events in the window", title=title)
        axes.grid(visible=True, which="both", alpha=0.3)
    rates.legend(fontsize="x-small")
    _save(figure, folder / "write_path.svg")


def _latencies(result: Result, folder: Path) -> None:
    """Draw the share of events that are in the Butler, against latency."""
    prefix = "latency at "
    names = [name for name in result.raw if name.startswith(prefix)]
    if not names:
        return  # quickly measured
    figure, axes = plt.subplots(figsize=(6, 4))
    for name in names:
        ordered = sorted(result.raw[name]["latencies"])
        shares = [(n + 1) / len(ordered) for n in range(len(ordered))]
        axes.plot(ordered, shares, label=name.removeprefix(prefix))
    axes.set(xlabel="seconds from send to commit", ylabel="share of events", xlim=(0, None))
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    _save(figure, folder / "latency.svg")


def _window_size(result: Result, folder: Path) -> None:
    """Draw latency against commits for each length; a good choice is where the curve bends."""
    figure, axes = plt.subplots(figsize=(6, 4))
    points = [
        (raw["commits an event"], quantile(raw["latencies"], 0.99), name)
        for name, raw in result.raw.items()
    ]
    axes.plot([x for x, *_ in points], [y for _, y, _ in points], marker="o")
    for x, y, name in points:
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(6, 4))
    axes.set(xlabel="commits per event", ylabel="latency, p99 (s)", ylim=(0, None))
    axes.grid(visible=True, alpha=0.3)
    _save(figure, folder / "window_size.svg")


def _save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


_PLOTS = {"write_path": _write_path, "end_to_end": _latencies, "window_size": _window_size}
