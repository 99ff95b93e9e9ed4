"""An event without the artifacts of some dataset types."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from models.fields import DimensionRecordFields, EventContent, FileDatasetFields

__all__ = ["PartOfEvent"]


@dataclass(frozen=True, slots=True)
class PartOfEvent:
    """An event without some of its artifacts, as an event that the Butler write reads.

    Attributes
    ----------
    event : `EventContent`
        The whole event.
    left_out : `~collections.abc.Collection` [`str`]
        Dataset types; artifacts with a dataset of one of them are left out.
    """

    event: EventContent
    left_out: Collection[str]

    @property
    def dimension_records(self) -> list[DimensionRecordFields]:
        """All dimension records of the event."""
        return self.event.dimension_records

    @property
    def datasets(self) -> list[FileDatasetFields]:
        """The artifacts that are left."""
        return [
            artifact
            for artifact in self.event.datasets
            if not any(
                ref["dataset_type_name"] in self.left_out for ref in artifact["refs"].values()
            )
        ]

    @property
    def dataset_types(self) -> list[dict[str, Any]]:
        """The dataset types that are left."""
        given = self.event.dataset_types or []
        return [each for each in given if each["name"] not in self.left_out]

    @property
    def chains(self) -> list[str] | None:
        """The chains of the event."""
        return self.event.chains

    @property
    def staging(self) -> str | None:
        """The staging root of the event."""
        return self.event.staging

    @property
    def replaces_records(self) -> bool:
        """Whether stored dimension records get the values that the event has of them."""
        return self.event.replaces_records

    def asdict(self) -> dict[str, Any]:
        """Return the fields by name."""
        left = {"datasets": self.datasets, "dataset_types": self.dataset_types}
        return {**self.event.asdict(), **left}
