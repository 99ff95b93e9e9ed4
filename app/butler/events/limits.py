"""How much an event may have; what has more is refused before work is done for it.

Each default is far above what a pod sends, and low enough that the largest event costs less than a
second (docs/limits.md has the measurements).
"""

from __future__ import annotations

import sys
from typing import Self

from pydantic import BaseModel, ConfigDict

from app.butler.policy import Count
from models.errors import OverLimitError

__all__ = ["EventLimits"]


class EventLimits(BaseModel):
    """How much an event may have; the settings read the limits from the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_json_values: Count = 500_000
    """Objects, lists and values in the message, counted as its ``{``, ``[`` and ``,``."""

    max_key_bytes: Count = 65_536
    """Bytes of the message's key."""

    max_header_bytes: Count = 65_536
    """Bytes of the names and values of the message's headers."""

    max_files: Count = 22_000
    """Files."""

    max_datasets: Count = 22_000
    """Datasets."""

    max_runs: Count = 100
    """Runs: each is registered on its own."""

    max_chain_pairs: Count = 100
    """Pairs of a run and a chain: each is looked up on its own."""

    max_dataset_types: Count = 1000
    """Dataset types that it defines."""

    max_dimension_records: Count = 2500
    """Dimension records."""

    max_fields: Count = 200
    """Values in one dimension record, or in one dataset type, with those inside of others."""

    max_nesting: Count = 8
    """Levels of lists and objects in a value of a dimension record or of a dataset type."""

    max_name_length: Count = 255
    """Characters of the name of a run, a chain, a dataset type or a formatter."""

    max_path_length: Count = 1024
    """Characters of a path, and of the URI of a staging root."""

    max_text_length: Count = 4096
    """Characters of a text in a dimension record or a data ID."""

    max_region_bytes: Count = 16_384
    """Bytes of an encoded region: a polygon of 682 vertices."""

    max_event_region_bytes: Count = 524_288
    """Bytes of all encoded regions of its dimension records together."""

    max_region_members: Count = 64
    """Members of a union of regions."""

    max_overlap_rows: Count = 10_000
    """Pixels that its regions overlap together: Butler makes a row for each."""

    @classmethod
    def without_any(cls) -> Self:
        """Return limits that nothing exceeds.

        They are for the product log: one of its messages has a window of events, or what was in the
        source before, and comes from a service.  Only its size is limited.
        """
        return cls().model_copy(update=dict.fromkeys(cls.model_fields, sys.maxsize))

    def check(self, name: str, what: str, number: int) -> None:
        """Check a number.

        Parameters
        ----------
        name : `str`
            Name of the limit.
        what : `str`
            What was counted, such as ``the event has {} runs``.
        number : `int`
            How many there are.

        Raises
        ------
        OverLimitError
            If there are more; the reason names the limit and its variable.
        """
        if number > getattr(self, name):
            raise OverLimitError(f"{what.format(number)}, {self.excess(name)}")

    def excess(self, name: str) -> str:
        """Return the words of a reason that name a limit that an event exceeds."""
        return f"more than the limit of {getattr(self, name)} (BUTLER_WRITER_{name.upper()})"
