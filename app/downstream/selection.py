"""What of a message of the product log is released at a time, what waits, and what is left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from app.downstream.embargo import HoldReason
from models.fields import DimensionRecordFields, FileDatasetFields

__all__ = ["Exclusion", "Message", "Release", "Selection"]


class Message(Protocol):
    """A message of the product log."""

    @property
    def origin(self) -> str:
        """What wrote its datasets."""

    @property
    def dimension_records(self) -> list[DimensionRecordFields]:
        """The dimension records that its datasets need, and those that tell their time."""

    @property
    def datasets(self) -> list[FileDatasetFields]:
        """Its artifacts and their datasets."""

    @property
    def dataset_types(self) -> list[dict[str, Any]] | None:
        """The definitions of their dataset types."""

    @property
    def chains(self) -> list[str] | None:
        """The chains of their run."""


class Exclusion(StrEnum):
    """Why a dataset is never released."""

    NO_RULE = "no_rule"
    """No rule matches."""

    BY_RULE = "by_rule"
    """A rule excludes it."""

    WITHDRAWN = "withdrawn"
    """It was withdrawn, or a dataset of the same artifact was."""


@dataclass(frozen=True, slots=True)
class Release:
    """What is released of a message; empty if nothing is.

    Attributes
    ----------
    datasets : `list` [`models.fields.FileDatasetFields`]
        Artifacts with all their datasets.
    dimension_records : `list` [`models.fields.DimensionRecordFields`]
        The dimension records that these need, and no others.
    dataset_types : `list` [`dict`]
        The definitions of their dataset types.
    chains : `list` [`str`] or `None`
        The chains of their run.
    """

    datasets: list[FileDatasetFields] = field(default_factory=list)
    dimension_records: list[DimensionRecordFields] = field(default_factory=list)
    dataset_types: list[dict[str, Any]] = field(default_factory=list)
    chains: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What becomes of the datasets of a message.

    Attributes
    ----------
    release : `Release`
        What is released now.
    waiting : `dict` [`int`, `~collections.Counter`]
        When others are due, each with the number of datasets by type.
    held : `dict` [`HoldReason`, `~collections.Counter`]
        Why others are held until a rule says otherwise, each with the number by type.
    excluded : `dict` [`Exclusion`, `~collections.Counter`]
        Why others are never released, each with the number by type.
    """

    release: Release
    waiting: dict[int, Counter[str]]
    held: dict[HoldReason, Counter[str]]
    excluded: dict[Exclusion, Counter[str]]
