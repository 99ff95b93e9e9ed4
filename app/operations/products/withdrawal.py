"""Takes datasets out of a downstream repository, so that they do not come back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import orjson
from lsst.daf.butler import Butler
from lsst.utils.iteration import chunk_iterable

from app.butler.paths import is_own_file
from app.butler.products.stored_products import StoredProducts
from app.downstream.kept_state import WithdrawnDataset, WithdrawnRun
from app.kafka.connection import KafkaConnection
from app.kafka.producer import open_producer
from app.settings import MIB, ReplicaKafkaSettings

__all__ = ["Removed", "Withdrawal", "record"]

#: How many datasets are removed in one transaction.
_AT_ONCE = 500


@dataclass
class Removed:
    """What was removed, or would be.

    Attributes
    ----------
    datasets, files : `int`
        How many datasets, and how many files of the repository's own datastores.
    not_removed : `list` [`str`]
        Files that are still there: the datastore refuses to remove them.
    """

    datasets: int = 0
    files: int = 0
    not_removed: list[str] = field(default_factory=list)


async def record(
    connection: KafkaConnection,
    settings: ReplicaKafkaSettings,
    ids: Iterable[UUID],
    runs: Iterable[str],
) -> None:
    """Write down what is withdrawn, before it is removed.

    Workers read it when they start; the group must have no members.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to connect to.
    settings : `ReplicaKafkaSettings`
        Names of the topics.
    ids : `~collections.abc.Iterable` [`uuid.UUID`]
        Datasets.
    runs : `~collections.abc.Iterable` [`str`]
        Runs.

    Raises
    ------
    app.kafka.errors.TopicError
        If there is no changelog.
    app.kafka.errors.KafkaError
        If the brokers cannot be reached or refuse the user.
    """
    keys = [WithdrawnRun(run).key for run in runs] + [WithdrawnDataset(each).key for each in ids]
    value = orjson.dumps({"withdrawn_at": datetime.now(UTC).isoformat(timespec="seconds")})
    async with open_producer(connection, settings.waiting_topic, MIB) as producer:
        for key in keys:
            await producer.send(value, key=orjson.dumps(key))


class Withdrawal:
    """Removes datasets from a repository, with the files that it owns.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    ids : `~collections.abc.Collection` [`uuid.UUID`]
        Datasets; with each, all others in the same artifact.
    runs : `~collections.abc.Sequence` [`str`]
        Runs, with all their datasets.

    Attributes
    ----------
    ids : `list` [`uuid.UUID`]
        The datasets, with the others in their artifacts; some may not be there.
    """

    def __init__(self, butler: Butler, ids: Collection[UUID], runs: Sequence[str]) -> None:
        self._butler = butler
        self._stored = StoredProducts(butler)
        self._runs = runs
        self.ids = [*dict.fromkeys([*ids, *self._stored.beside(ids)])]

    def remove(self, *, dry_run: bool = False) -> Removed:
        """Remove what is there; it may be called again.

        Parameters
        ----------
        dry_run : `bool`, optional
            Only count.
        """
        removed = Removed()
        ids = dict.fromkeys(self.ids)
        for run in self._runs:
            ids |= dict.fromkeys(self._stored.ids_of_run(run))
        for some in chunk_iterable(ids, _AT_ONCE):
            refs = self._butler.get_many_datasets(some)
            own = {
                (store, path)
                for artifact in self._stored.of_ids(some).artifacts
                for store, path in artifact.recorded_paths.items()
                if is_own_file(path)
            }
            if not dry_run:
                self._butler.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
                left = {(store, path) for store, path in own if store.exists(path)}
                removed.not_removed += sorted(str(store.uri(path)) for store, path in left)
                own -= left
            removed.datasets += len(refs)
            removed.files += len(own)
        return removed
