"""The messages of a window of the product log, each with what is released of it now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from agents.decoded_events import DecodedEvents, decoded
from app.butler.repository.chains import Position
from app.downstream.due_messages import DueMessage
from app.downstream.selection import Release, Selection
from app.downstream.withdrawn import Withdrawn
from app.intake.received import Received
from app.intake.windows import Arrival
from app.parts import Replica
from models.errors import InvalidEventError, RemovedMessageError
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
    replaces_records : `bool`
        Whether stored dimension records get the values that it has of them.
    """

    release: Release
    staging: str | None
    replaces_records: bool = False

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
    withdrawn : `Withdrawn`
        What must not come back.

    Attributes
    ----------
    selections : `dict` [`Arrival`, `Selection`]
        What becomes of each message that was decoded; without what is released of it.
    positions : `dict` [`tuple` [`str`, `str`], `Position`]
        Where the source has their runs in their chains, by (chain, run).
    """

    def __init__(
        self,
        arrivals: Sequence[Arrival[Received]],
        max_bytes: int,
        replica: Replica,
        withdrawn: Withdrawn,
    ) -> None:
        super().__init__(arrivals, max_bytes)
        self._withdrawn = withdrawn
        self._replica = replica
        # One moment for all, and for each time that a message is decoded: what is written of it,
        # and what waits, must fit together.
        self._now = replica.release_time()
        self.selections: dict[Arrival[Received], Selection] = {}
        self.positions: dict[tuple[str, str], Position] = {}

    def __getitem__(self, arrival: Arrival[Received]) -> ReleasedContent:
        payload = arrival.payload
        since = 0
        if isinstance(payload, DueMessage):
            since = payload.since
            if payload.is_removed:
                partition, offset = arrival.entry.partition[1], arrival.entry.offset
                raise RemovedMessageError(
                    f"the product log no longer has offset {offset} of partition {partition}: its "
                    "retention is shorter than the embargo"
                )
        message = decoded(Products.decode, payload.value, self._max_bytes)
        self._check_universe(message)
        selection = self._replica.select(message, self._now, since, self._withdrawn)
        self.selections[arrival] = replace(selection, release=Release())
        is_staged = bool(selection.release.datasets)
        # A message that is read again is older than some that were released meanwhile.
        is_new = not isinstance(payload, DueMessage)
        for chain, number in message.chain_positions.items():
            self.positions[chain, message.run] = Position(number, moves=is_new)
        return ReleasedContent(
            selection.release,
            self._replica.staging if is_staged else None,
            self._replica.replaces_records and is_new,
        )

    def _check_universe(self, message: Products) -> None:
        given = message.universe["namespace"], message.universe["version"]
        if given != self._replica.universe:
            raise InvalidEventError(
                "the source has version {1} of the dimension universe {0}, and this repository "
                "version {3} of {2}: they must be the same".format(*given, *self._replica.universe)
            )
