"""Reports the datasets that a downstream repository does not get."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from app.downstream.selection import Exclusion
from app.telemetry import metrics

__all__ = ["Exclusions"]

logger = structlog.get_logger("butler_writer")


class Exclusions:
    """Counts what is excluded, and names each dataset type without a rule once."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def add(self, excluded: Mapping[Exclusion, Mapping[str, int]]) -> None:
        """Report what is excluded of a message.

        Parameters
        ----------
        excluded : `~collections.abc.Mapping` [`Exclusion`, `~collections.abc.Mapping`]
            The number of datasets by type, for each reason.
        """
        for reason, numbers in excluded.items():
            metrics.EXCLUDED_DATASETS.labels(reason).inc(sum(numbers.values()))
        for name in excluded.get(Exclusion.NO_RULE, {}):
            if name not in self._named:
                self._named.add(name)
                logger.warning(
                    "no rule for a dataset type: its datasets are not released", dataset_type=name
                )
        metrics.TYPES_WITHOUT_RULE.set(len(self._named))
