"""Serialize what is written: the artifacts with their datasets, then the records they need.

The first needs no database, so it is done while the database writes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lsst.daf.butler import Butler, DataCoordinate

from app.butler.events.parsed import ParsedEvent
from app.butler.private.datastores import Datastores
from app.butler.products.chain_positions import ChainPositions
from app.butler.products.needed_records import NeededRecords, Needs
from app.butler.products.related_keys import RecordId
from app.butler.products.window_files import KnownTypes, Section, WindowFiles
from models.product import UniverseFields

__all__ = ["ProductContents", "SerializedEvents", "WrittenProducts"]

#: Pause after each event, in seconds, in which another thread gets the interpreter.  Otherwise, one
#: that writes gets it only after Python's switch interval, 5 ms, each time the database answers.
_PAUSE = 0.00005


@dataclass(frozen=True, slots=True)
class SerializedEvents:
    """The datasets of events, serialized.

    Attributes
    ----------
    events : `~collections.abc.Sequence` [`ParsedEvent`]
        The events.
    sections : `~collections.abc.Sequence` [`Section`]
        Their datasets, by run and datastore.
    dataset_types : `~collections.abc.Mapping` [`str`, `bytes`]
        The dataset types, serialized, by name.
    needs : `Needs`
        The dimension records that their data IDs need.
    """

    events: Sequence[ParsedEvent]
    sections: Sequence[Section]
    dataset_types: Mapping[str, bytes]
    needs: Needs


@dataclass(frozen=True, slots=True)
class WrittenProducts:
    """What a window has written, with all that another repository needs.

    Attributes
    ----------
    universe : `UniverseFields`
        The repository's dimension universe.
    sections : `~collections.abc.Sequence` [`Section`]
        What was written, by run and datastore.
    dataset_types : `~collections.abc.Mapping` [`str`, `bytes`]
        The dataset types, serialized, by name.
    needed : `~collections.abc.Mapping`
        The keys of the dimension records that each data ID needs.
    records : `~collections.abc.Mapping` [`RecordId`, `bytes`]
        These records, serialized.
    chain_positions : `~collections.abc.Mapping`
        The positions of runs in their chains, by (chain, run).
    """

    universe: UniverseFields
    sections: Sequence[Section]
    dataset_types: Mapping[str, bytes]
    needed: Mapping[DataCoordinate, tuple[RecordId, ...]]
    records: Mapping[RecordId, bytes]
    chain_positions: Mapping[tuple[str, str], int] = field(default_factory=dict)


class ProductContents:
    """Serializes what windows write.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    datastores : `Datastores`
        Its datastores; where several accept a dataset, the first one counts.
    """

    def __init__(self, butler: Butler, datastores: Datastores) -> None:
        universe = butler.dimensions
        self._universe = UniverseFields(namespace=universe.namespace, version=universe.version)
        self._stores = datastores.stores
        self._needed = NeededRecords(butler)
        self._known_types = KnownTypes()
        self._positions = ChainPositions(butler)

    def serialize(self, events: Sequence[ParsedEvent]) -> SerializedEvents:
        """Serialize the datasets of events, each once; any thread may do so at any time."""
        window = WindowFiles(self._stores, self._known_types)
        for event in events:
            window.add(event)
            time.sleep(_PAUSE)
        needs = self._needed.needs_of(window.data_ids)
        return SerializedEvents(events, [*window.sections.values()], window.dataset_types, needs)

    def complete(self, serialized: SerializedEvents) -> WrittenProducts:
        """Add what the repository has: the events must be written, and their runs in their chains.

        One thread may do so at a time.
        """
        needed, records = self._needed.find(serialized.needs)
        sections = serialized.sections
        pairs = dict.fromkeys((chain, each.run) for each in sections for chain in each.chains)
        positions = self._positions.find(pairs)
        return WrittenProducts(
            self._universe, sections, serialized.dataset_types, needed, records, positions
        )
