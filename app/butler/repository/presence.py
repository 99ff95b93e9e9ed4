"""Tell whether datasets are in the Butler and their artifacts exist.  Reads only."""

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

__all__ = ["DatasetPresence", "look_up"]

#: Number of threads, and number of artifacts that a thread checks at a time.
_THREADS = 10
_CHUNK = 16


@dataclass(frozen=True, slots=True)
class DatasetPresence:
    """Which of some datasets are registered, and which can be read.

    Attributes
    ----------
    registered : `dict` [`uuid.UUID`, `lsst.daf.butler.DatasetRef`]
        The datasets in the registry, as the registry has them.
    readable : `frozenset` [`uuid.UUID`]
        Those of them that have a datastore record and whose artifacts exist.
    """

    registered: Mapping[UUID, DatasetRef]
    readable: frozenset[UUID]


def look_up(butler: Butler, dataset_ids: Iterable[UUID]) -> DatasetPresence:
    """Look up datasets in the registry, the datastore records and the file store.

    Raises
    ------
    RetryableError
        If a datastore root is not mounted.
    Exception
        If a file store cannot be used.
    """
    refs = butler.get_many_datasets(dataset_ids)
    artifacts = {
        ref.id: [uri for uri in (found.primaryURI, *found.componentURIs.values()) if uri]
        for ref, found in butler.get_many_uris(refs, allow_missing=True).items()
    }
    missing = _find_missing(set(chain.from_iterable(artifacts.values())))
    if missing:
        Datastores(butler).check_mounted()
    return DatasetPresence(
        registered={ref.id: ref for ref in refs},
        readable=frozenset(
            dataset_id for dataset_id, found in artifacts.items() if missing.isdisjoint(found)
        ),
    )


def _find_missing(artifacts: set[ResourcePath]) -> set[ResourcePath]:
    # Not ``mexists``: it takes an error for a missing file, and so an unavailable store for empty.
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="presence") as pool:
        found = pool.map(
            lambda uris: [uri for uri in uris if not uri.exists()],
            chunk_iterable(artifacts, _CHUNK),
        )
        return set(chain.from_iterable(found))
