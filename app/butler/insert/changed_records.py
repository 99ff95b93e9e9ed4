"""Tell whether a dimension record is the stored one, and report it if not."""

from __future__ import annotations

from math import isnan
from typing import Any

import structlog
from lsst.daf.butler import DimensionRecord

from app.butler.events.parsed import RecordKey

__all__ = ["is_same_record", "log_change"]

logger = structlog.get_logger("butler_writer")


def is_same_record(one: DimensionRecord, other: DimensionRecord) -> bool:
    """Compare two records; NaN equals NaN, and the NULL that SQLite stores for it."""
    if one is other or one == other:
        return True
    return _without_nan(one) == _without_nan(other)


def _without_nan(record: DimensionRecord) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and isnan(value) else value
        for name, value in record.toDict().items()
    }


def log_change(
    key: RecordKey, kept: DimensionRecord, given: DimensionRecord, *, is_replaced: bool = False
) -> None:
    """Log that a record differs from the stored one, and which of its fields."""
    stored, new = kept.toDict(), given.toDict()
    logger.warning(
        "dimension record differs from the stored one",
        stored="replaced" if is_replaced else "kept",
        element=key[0],
        data_id=list(kept.dataId.required_values),
        fields=sorted(name for name in stored if stored[name] != new.get(name)),
    )
