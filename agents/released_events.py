"""The messages of a window of the product log, each with what is released of it now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.butler.descriptions import describe_with_type
from app.downstream.selection import Release, Selection
from app.intake.received import Received
from app.intake.windows import Arrival
from app.parts import Replica
from agents.decoded_events import DecodedEvents
from models.errors import InvalidEventError
from models.fields import DimensionRecordFields, FileDatasetFields
from models.product import Products

__all__ = ["ReleasedContent", "ReleasedEvents"]


@dataclass(frozen=True, slots=True)
class ReleasedContent:
    """What is released of a message, as an event that the Butler write reads.

    Attributes
    ----------
    release : `Release`
        The artifacts, and what they need.
    staging : `str` or `None`
        The root from which the artifacts are copied; `None`: they stay where they are.
    """

    release: Release
    staging: str | None

    @property
    def dimension_records(self) -> list[DimensionRecordFields]:
        """The dimension records that the released datasets need."""
        return self.release.dimension_records

    @property
    def datasets(self) -> list[FileDatasetFields]:
        """The released artifacts."""
        return self.release.datasets

    @property
    def dataset_types(self) -> list[dict[str, Any]]:
        """The definitions of their dataset types."""
        return self.release.dataset_types

    @property
    def chains(self) -> list[str]:
        """The chains of their run."""
        return self.release.chains or []

    def asdict(self) -> dict[str, Any]:
        """Return the fields by name, as an event has them."""
        return {"type": "products", **asdict(self.release), "staging": self.staging}


class ReleasedEvents(DecodedEvents):
    """The messages of a window, each with what is released of it at one moment.

    Parameters
    ----------
    arrivals : `~collections.abc.Sequence` [`Arrival`]
        The messages as they were received.
    max_bytes : `int`
        Size of the largest message that is accepted.
    replica : `Replica`
        Selects what is released.
    """

    def __init__(
        self, arrivals: Sequence[Arrival[Received]], max_bytes: int, replica: Replica
    ) -> None:
        super().__init__(arrivals, max_bytes)
        self._replica = replica
