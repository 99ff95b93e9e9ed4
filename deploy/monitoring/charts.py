"""A panel with metrics, and the PromQL that panels have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Selects the workers of one installation.
WORKERS = '{job=~"$job"}'
OURS = f"and on (job, instance) butler_writer_ready{WORKERS}"

ALERTS = 'ALERTS{alertname=~"ButlerWriter.*", alertstate="firing"}'


@dataclass(frozen=True)
class Chart:
    """A panel with metrics.

    Attributes
    ----------
    title, unit, description
        As Grafana shows them; the unit is one of Grafana's names.
    section
        The section of the runbook: an alert's name, or an anchor.
    queries
        PromQL expressions and their legends.
    red, red_below
        A single number is red from the one on, or below the other.
    """

    title: str
    unit: str
    description: str
    section: str
    queries: Sequence[tuple[str, str]]
    red: float | None = None
    red_below: float | None = None


def workers(metric: str) -> str:
    """Return a metric of all workers of the installation."""
    return f"butler_writer_{metric}{WORKERS}"


def per_second(metric: str, by: str) -> str:
    """Return how fast a counter grows."""
    return f"sum by ({by}) (rate({workers(metric)}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str = "le", window: str = "$__rate_interval") -> str:
    """Return a quantile of a histogram."""
    buckets = f"sum by ({by}) (rate({workers(metric + '_bucket')}[{window}]))"
    return f"histogram_quantile({share}, {buckets})"
