"""Whether datasets are in the Butler, and their artifacts in place.  Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

__all__ = ["Presence", "look_up"]


@dataclass(frozen=True, slots=True)
class Presence:
    """What of some datasets is there.

    Attributes
    ----------
    stored : `frozenset` [`uuid.UUID`]
        Those that registry and datastore know.
    readable : `frozenset` [`uuid.UUID`]
        Those of them whose artifacts are in place too.
    """

    stored: frozenset[UUID]
    readable: frozenset[UUID]


def look_up(butler: Butler, dataset_ids: Iterable[UUID]) -> Presence:
    """Ask registry, datastore and store for datasets, all at once."""
    uris = butler.get_many_uris(butler.get_many_datasets(dataset_ids), allow_missing=True)
    artifacts = {
        ref.id: [uri for uri in (found.primaryURI, *found.componentURIs.values()) if uri]
        for ref, found in uris.items()
    }
    in_place = ResourcePath.mexists({uri for found in artifacts.values() for uri in found})
    return Presence(
        stored=frozenset(artifacts),
        readable=frozenset(
            dataset_id
            for dataset_id, found in artifacts.items()
            if all(in_place[uri] for uri in found)
        ),
    )
