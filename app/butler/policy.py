"""What an operator decides about the Butler write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from lsst.resources import ResourcePath

__all__ = ["FileCheck", "WritePath", "WritePolicy"]


class FileCheck(StrEnum):
    """Which artifacts must be found before their datasets are written."""

    ALL = "all"
    """Every artifact: a dataset in the Butler can be read."""

    SAMPLE = "sample"
    """The first artifact of each event: a pod whose upload failed as a whole is noticed."""

    NONE = "none"
    """No artifact: the pods are trusted."""


class WritePath(StrEnum):
    """How datasets are written."""

    RECORDS = "records"
    """Rows straight into registry and datastore records: twice as fast, by private names."""

    PUBLIC = "public"
    """``Butler.ingest``: public names alone.  Taken also where `RECORDS` may be wrong."""


@dataclass(frozen=True)
class WritePolicy:
    """What an operator decides about the Butler write.

    Attributes
    ----------
    allowed_formatters : `re.Pattern`
        What the name of a formatter must match; formatters are never imported.
    file_check : `FileCheck`
        Which artifacts must be found before their datasets are written.
    write_path : `WritePath`
        How datasets are written.
    chain_pattern : `re.Pattern` or `None`
        Derives the chain from a run's name, by its group ``chain``, where an event names none.
    missing_file_tries : `int`
        How often a missing artifact is looked for before its event is rejected.
    missing_file_wait : `float`
        Seconds between two such looks.
    file_check_timeout : `float`
        Seconds that one look at the artifacts of a window may take.
    staging_roots : `tuple` [`lsst.resources.ResourcePath`]
        Where staged artifacts may be: an event's staging root is one of these, or inside of one.
    staging_timeout : `float`
        Seconds that bringing home, or removing, the staged artifacts of a window may take.
    statement_timeout : `float`
        Seconds that one SQL statement may take (PostgreSQL).
    lock_timeout : `float`
        Seconds that one SQL statement may wait for a lock (PostgreSQL).
    """

    allowed_formatters: re.Pattern[str] = re.compile(r"^lsst\.[\w.]+$")
    file_check: FileCheck = FileCheck.ALL
    write_path: WritePath = WritePath.RECORDS
    chain_pattern: re.Pattern[str] | None = None
    missing_file_tries: int = 3
    missing_file_wait: float = 0.5
    file_check_timeout: float = 60.0
    staging_roots: tuple[ResourcePath, ...] = ()
    staging_timeout: float = 300.0
    statement_timeout: float = 120.0
    lock_timeout: float = 30.0
