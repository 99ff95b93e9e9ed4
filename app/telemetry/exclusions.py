"""Reports the datasets that a downstream repository does not get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import structlog

from app.downstream.selection import Exclusion
from app.telemetry import metrics

__all__ = ["Exclusions"]

logger = structlog.get_logger("butler_writer")


class Exclusions:
    """Counts what is excluded, and names each dataset type without a rule once.

    Attributes
    ----------
    without_rule : `~collections.Counter` [`str`]
        The number of datasets without a rule since the start of the worker, by type; 0 if such
        datasets came only before.
    """

    def __init__(self) -> None:
        self.without_rule: Counter[str] = Counter()

    def add(self, excluded: Mapping[Exclusion, Mapping[str, int]]) -> None:
        """Report what is excluded of a message.

        Parameters
        ----------
        excluded : `~collections.abc.Mapping` [`Exclusion`, `~collections.abc.Mapping`]
            The number of datasets by type, for each reason.
        """
        for reason, numbers in excluded.items():
            metrics.EXCLUDED_DATASETS.labels(reason).inc(sum(numbers.values()))
        without_rule = excluded.get(Exclusion.NO_RULE, {})
        self.name(without_rule)
        self.without_rule.update(without_rule)

    def name(self, dataset_types: Iterable[str]) -> None:
        """Report that there is no rule for some dataset types."""
        for name in dataset_types:
            if name not in self.without_rule:
                self.without_rule[name] = 0
                logger.warning(
                    "no rule for a dataset type: its datasets are not released", dataset_type=name
                )
        metrics.TYPES_WITHOUT_RULE.set(len(self.without_rule))
