"""Whether datasets are in the Butler, and their artifacts in place.  Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from uuid import UUID

from lsst.daf.butler import Butler, DatasetRef
from lsst.resources import ResourcePath
from lsst.utils.iteration import chunk_iterable

from app.butler.private.datastores import Datastores

__all__ = ["Presence", "look_up"]

#: How many looks go on at once, and how many artifacts a thread looks for at a time.
_LOOKERS = 10
_CHUNK = 16


@dataclass(frozen=True, slots=True)
class Presence:
    """What of some datasets is there.

    Attributes
    ----------
    registered : `dict` [`uuid.UUID`, `lsst.daf.butler.DatasetRef`]
        Those that the registry knows, as it knows them.
    readable : `frozenset` [`uuid.UUID`]
        Those of them that the datastore knows too, and whose artifacts are in place.
    """

    registered: Mapping[UUID, DatasetRef]
    readable: frozenset[UUID]


def look_up(butler: Butler, dataset_ids: Iterable[UUID]) -> Presence:
    """Ask registry, datastore and store for datasets, all at once.

    Raises
    ------
    RetryableError
        If the store's root is not mounted.
    Exception
        Whatever a store raises that cannot be asked.
    """
    refs = butler.get_many_datasets(dataset_ids)
    artifacts = {
        ref.id: [uri for uri in (found.primaryURI, *found.componentURIs.values()) if uri]
        for ref, found in butler.get_many_uris(refs, allow_missing=True).items()
    }
    absent = _absent(set(chain.from_iterable(artifacts.values())))
    if absent:
        Datastores(butler).check_mounted()
    return Presence(
        registered={ref.id: ref for ref in refs},
        readable=frozenset(
            dataset_id for dataset_id, found in artifacts.items() if absent.isdisjoint(found)
        ),
    )


def _absent(artifacts: set[ResourcePath]) -> set[ResourcePath]:
    # Not ``mexists``: to it, what cannot be asked for is absent, and a store that is down is empty.
    with ThreadPoolExecutor(_LOOKERS, thread_name_prefix="presence") as pool:
        found = pool.map(
            lambda uris: [uri for uri in uris if not uri.exists()],
            chunk_iterable(artifacts, _CHUNK),
        )
        return set(chain.from_iterable(found))
