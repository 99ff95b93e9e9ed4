"""The operator's choices for the Butler write."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any

import re2
from lsst.resources import ResourcePath
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "Count",
    "Expression",
    "FileCheck",
    "ReplicaPolicy",
    "Seconds",
    "TagWinner",
    "Transfer",
    "WriteMethod",
    "WritePolicy",
]

#: A duration: from a millisecond, the unit of Kafka and PostgreSQL, to a week.
Seconds = Annotated[float, Field(ge=0.001, le=7 * 24 * 3600, allow_inf_nan=False)]

Count = Annotated[int, Field(ge=1, le=1_000_000)]


class FileCheck(StrEnum):
    """Which artifacts must exist before their datasets are written."""

    ALL = "all"
    """Every artifact: each dataset in the Butler can be read."""

    SAMPLE = "sample"
    """The first artifact of each event: an upload that failed completely is noticed."""

    NONE = "none"
    """No artifact: the pods are trusted."""


class WriteMethod(StrEnum):
    """How datasets are inserted."""

    RECORDS = "records"
    """Insert rows into the tables of registry and datastores: twice as fast, with private names.

    A repository with parts that this is not tested with is written with `PUBLIC`.
    """

    PUBLIC = "public"
    """Call ``Butler.ingest``: public names only."""


@dataclass(frozen=True)
class Expression:
    """A regular expression for texts that events give.

    RE2 matches it, in a time proportional to the length of the text.  With Python's `re`, a text of
    a few bytes can take for ever.  RE2 has no lookahead and no back references.

    Attributes
    ----------
    pattern : `str`
        The expression.

    Raises
    ------
    ValueError
        If it is no regular expression, or not one of RE2.
    """

    pattern: str

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)  # its errors name the position
        except re.error as exc:
            raise ValueError(f"not a regular expression: {exc}") from exc
        _ = self._compiled

    @cached_property
    def _compiled(self) -> Any:
        options = re2.Options()
        options.log_errors = False
        try:
            return re2.compile(self.pattern, options)
        except re2.error as exc:
            reason = exc.args[0].decode() if isinstance(exc.args[0], bytes) else exc
            raise ValueError(
                "the expression has something that RE2 lacks, such as a lookahead or a back "
                f"reference, which can take for ever: {reason}"
            ) from exc

    @property
    def groups(self) -> Collection[str]:
        """The names of its groups."""
        return set(self._compiled.groupindex)

    def matches(self, text: str) -> bool:
        """Tell whether it matches a whole text."""
        return self._compiled.fullmatch(text) is not None

    def find(self, group: str, text: str) -> str | None:
        """Return what a group matches where the expression is found in a text, if it is."""
        match = self._compiled.search(text)
        return None if match is None else str(match[group])


class Transfer(StrEnum):
    """How a downstream repository gets the artifacts of its datasets."""

    COPY = "copy"
    """They are copied to the same relative path in its datastore."""

    HARDLINK = "hardlink"
    """They get a second name in its datastore, on the same file system."""

    DIRECT = "direct"
    """It refers to them where they are, by absolute URIs."""

    IN_PLACE = "in-place"
    """They are at the same relative path in its datastore already."""


class TagWinner(StrEnum):
    """Which of several datasets with the same type and data ID has the tag."""

    NEWEST = "newest"
    """The one that came into the repository last."""

    OLDEST = "oldest"
    """The one that came into the repository first."""


def _expression(value: object) -> object:
    if isinstance(value, re.Pattern):
        value = value.pattern
    return Expression(value) if isinstance(value, str) else value


def _chain_expression(value: object) -> object:
    expression = _expression(value or None)
    if isinstance(expression, Expression) and "chain" not in expression.groups:
        raise ValueError("the expression must have a group (?P<chain>...)")
    return expression


def _roots(value: object) -> object:
    if not isinstance(value, str):
        return value
    uris = [uri.strip() for uri in value.split(",") if uri.strip()]
    try:
        return tuple(ResourcePath(uri, forceDirectory=True) for uri in uris)
    except (NotImplementedError, ValueError) as exc:
        raise ValueError(f"not uri[,uri...]: {exc}") from exc


def _number(value: object) -> object:
    return None if value == "none" else value


def _elements(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _root(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return ResourcePath(value, forceDirectory=True)
    except (NotImplementedError, ValueError) as exc:
        raise ValueError(f"not a URI: {exc}") from exc


class ReplicaPolicy(BaseModel):
    """The operator's choices for a downstream repository; the settings read them too."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True
    )

    source_root: Annotated[ResourcePath | None, BeforeValidator(_root)] = None
    """Root of the datastore that the product log's paths are relative to; it is only read.  Not
    needed with the transfer ``in-place``."""

    transfer: Transfer = Transfer.COPY
    """How artifacts get into the repository: ``copy``, ``hardlink`` (on the same file system),
    ``direct`` (it refers to them where they are) or ``in-place`` (they are there already)."""

    tag: str | None = None
    """Tagged collection that all datasets are put into; by default there is none."""

    tag_winner: TagWinner = TagWinner.NEWEST
    """Which of several datasets with the same data ID has the tag: ``newest`` or ``oldest``, by
    when they came into the repository."""

    @property
    def staging(self) -> ResourcePath | None:
        """The root from which artifacts get into the datastore before they are written."""
        is_staged = self.transfer in (Transfer.COPY, Transfer.HARDLINK)
        return self.source_root if is_staged else None

    @property
    def referred_root(self) -> ResourcePath | None:
        """The root of the artifacts, if datastore records are to have absolute URIs."""
        return self.source_root if self.transfer is Transfer.DIRECT else None

    def policy_of(self, write: WritePolicy) -> WritePolicy:
        """Return the choices for the write of a downstream repository.

        What the events of pods may name is not restricted again: the product log has what the
        source has, and an empty repository lacks even the instrument.
        """
        anything = Expression("(?s).*")
        unrestricted = {
            "allowed_runs": anything,
            "allowed_chains": anything,
            "allowed_elements": ("*",),
            "new_dataset_types": sys.maxsize,
            "paths_below_run": False,
        }
        roots = () if self.staging is None else (self.staging,)
        return write.model_copy(update={**unrestricted, "staging_roots": roots})


class WritePolicy(BaseModel):
    """The operator's choices for the Butler write; the settings read them from the environment."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True
    )

    allowed_formatters: Annotated[Expression, BeforeValidator(_expression)] = Expression(
        r"^lsst\.[\w.]+$"
    )
    """Regular expression that the name of a formatter must match; formatters are never imported."""

    chain_pattern: Annotated[Expression | None, BeforeValidator(_chain_expression)] = Expression(
        r"^(?P<chain>.+/prompt/output-\d{4}-\d{2}-\d{2})/.+$"
    )
    """Regular expression that finds the chain in the name of a run, as its group ``chain``, if the
    event names no chain; empty or `None`: no chain."""

    allowed_runs: Annotated[Expression | None, BeforeValidator(_expression)] = None
    """Regular expression that the name of a run must match; `None`: any run."""

    allowed_chains: Annotated[Expression | None, BeforeValidator(_expression)] = None
    """Regular expression that the name of a chain must match if an event names it; `None`: one that
    its run is below, one that does not exist, or one that this service has made."""

    allowed_elements: Annotated[tuple[str, ...], BeforeValidator(_elements)] = ()
    """Dimension elements, as ``name[,name...]``, of which an event may bring new records besides
    those that hang on exposures and visits; ``*``: all."""

    new_dataset_types: Annotated[Count | None, BeforeValidator(_number)] = 20
    """How many dataset types a worker registers within an hour because events bring them; ``none``:
    only those that are registered may be used."""

    paths_below_run: bool = True
    """Whether an artifact must be below the folder of its run, or where the file template of the
    repository leads to."""

    file_check: FileCheck = FileCheck.ALL
    """Which artifacts must exist before their datasets are written."""

    write_method: WriteMethod = WriteMethod.RECORDS
    """How datasets are inserted."""

    missing_file_tries: Count = 3
    """How often a missing artifact is looked for before its event becomes a dead letter."""

    missing_file_wait: Seconds = 0.5
    """Seconds between two such attempts."""

    file_check_timeout: Seconds = 20.0
    """Seconds that one check of a window's artifacts may take."""

    staging_roots: Annotated[tuple[ResourcePath, ...], BeforeValidator(_roots)] = ()
    """Folders that may contain staged artifacts, as ``uri[,uri...]``; the staging root of an event
    is one of them, or inside one; empty: events with staged artifacts are refused."""

    staging_timeout: Seconds = 300.0
    """Seconds that copying, or removing, the staged artifacts of a window may take."""

    statement_timeout: Seconds = 20.0
    """Seconds that one SQL statement may take (PostgreSQL)."""

    lock_timeout: Seconds = 10.0
    """Seconds that one SQL statement may wait for a lock (PostgreSQL)."""
