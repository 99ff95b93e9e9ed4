"""Reports the datasets that a downstream repository does not get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

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
        The number of datasets without a rule, by type.
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
        for name, number in excluded.get(Exclusion.NO_RULE, {}).items():
            if name not in self.without_rule:
                logger.warning(
                    "no rule for a dataset type: its datasets are not released", dataset_type=name
                )
            self.without_rule[name] += number
        metrics.TYPES_WITHOUT_RULE.set(len(self.without_rule))
