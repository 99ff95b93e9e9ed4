"""Which way of inserting datasets a repository is written with."""

from __future__ import annotations

from typing import Protocol

import structlog
from lsst.daf.butler import Butler

from app.butler.allowed.elements import forbidden_elements
from app.butler.insert.batch import Batch
from app.butler.insert.bulk_insert import BulkInsert
from app.butler.insert.dimension_records import DimensionRecords
from app.butler.insert.ingest import PublicIngest
from app.butler.insert.overlaps import OverlapRows
from app.butler.policy import WriteMethod, WritePolicy
from app.butler.private.coverage import uncovered_parts
from app.butler.private.datastores import Datastores
from app.butler.private.registry import RegistryTables

__all__ = ["Insert", "choose_insert"]

logger = structlog.get_logger("butler_writer")


class Insert(Protocol):
    """A way of inserting the datasets of a batch."""

    def lacks_shared(self, batch: Batch) -> bool:
        """Tell whether runs, or what their summaries must contain, may be missing."""

    def insert_shared(self, batch: Batch) -> None:
        """Insert these, in the caller's transaction; other windows may need them too."""

    def remember_shared(self, batch: Batch) -> None:
        """Remember that these are stored; call after the commit."""

    def insert(self, batch: Batch) -> int:
        """Insert the datasets that are missing; return how many they were."""

    def find_refused(self, batch: Batch) -> None:
        """Raise `RefusedEventsError` if queries find the events that the database refused."""

    def forget(self) -> None:
        """Forget all lookups."""


def choose_insert(
    butler: Butler,
    policy: WritePolicy,
    datastores: Datastores,
    overlaps: OverlapRows,
    *,
    refers: bool = False,
) -> tuple[Insert, DimensionRecords]:
    """Return the way of inserting datasets and dimension records that fits a repository.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The Butler to write with.
    policy : `WritePolicy`
        The operator's choice.
    datastores : `Datastores`
        The datastores of the repository.
    overlaps : `OverlapRows`
        Counts the overlap rows of dimension records.
    refers : `bool`, optional
        Whether artifacts are elsewhere, and datastore records have absolute URIs.
    """
    forbidden = forbidden_elements(butler.dimensions, policy.allowed_elements)
    if policy.write_method is WriteMethod.PUBLIC:
        records = DimensionRecords(butler, overlaps, forbidden=forbidden)
        return PublicIngest(butler, refers=refers), records
    if uncovered := uncovered_parts(butler):
        logger.warning(
            "bulk insert is untested for parts of this repository; using Butler.ingest, which is "
            "half as fast",
            parts=uncovered,
        )
        records = DimensionRecords(butler, overlaps, forbidden=forbidden)
        return PublicIngest(butler, refers=refers), records
    tables = RegistryTables(butler)
    records = DimensionRecords(butler, overlaps, tables.find_stored, forbidden)
    return BulkInsert(tables, datastores), records
