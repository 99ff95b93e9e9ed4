"""Write some events in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lsst.daf.butler import Butler, MissingDatasetTypeError
from sqlalchemy.exc import IntegrityError

from app.butler.commit.division import Counts
from app.butler.commit.times import WriteTimes
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import RetryableError, exception_chain
from app.butler.insert.batch import Batch
from app.butler.insert.choice import Insert
from app.butler.insert.dimension_records import DimensionRecords
from app.butler.insert.tagging import Tagging
from app.butler.private.registry import RegistryTables, engine_of
from app.butler.private.removals import Removals
from app.butler.repository.dataset_types import DatasetTypes
from app.butler.sessions.limits import Limits
from app.butler.sessions.messages import send_waiting
from app.butler.sessions.new_sessions import NewSessions

__all__ = ["EventTransaction"]


class EventTransaction:
    """Writes events, each call in one transaction.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The Butler to write with.
    types : `DatasetTypes`
        The dataset types that the events were parsed with.
    insert : `Insert`
        Inserts datasets.
    dimension_records : `DimensionRecords`
        Inserts dimension records.
    tagging : `Tagging` or `None`
        Puts the datasets into a tagged collection.
    removals : `Removals` or `None`
        If this is a downstream repository: how often something was removed from it.
    """

    def __init__(
        self,
        butler: Butler,
        types: DatasetTypes,
        insert: Insert,
        dimension_records: DimensionRecords,
        tagging: Tagging | None = None,
        *,
        removals: Removals | None = None,
    ) -> None:
        self._butler = butler
        self._types = types
        self._insert = insert
        self._dimension_records = dimension_records
        self._tagging = tagging
        self._removals = removals
        self._tables = RegistryTables(butler)
        self._new_sessions = NewSessions(engine_of(butler))

    def write(self, events: Sequence[ParsedEvent], limits: Limits | None = None) -> Counts:
        """Write some events.

        Parameters
        ----------
        events : `~collections.abc.Sequence` [`ParsedEvent`]
            The events.
        limits : `Limits`, optional
            Limits on each statement, instead of those of the policy.
        """
        batch = Batch.of(events)
        times = WriteTimes()
        self._dimension_records.refuse_new(events)
        self._write_shared_rows(batch, limits)
        counts = self._insert_all(batch, limits, times)
        self._dimension_records.remember()
        times.log(batch)
        return counts

    def _write_shared_rows(self, batch: Batch, limits: Limits | None) -> None:
        """Commit the rows that other windows need too, if they may be missing.

        The writes of those would wait for them until this window is committed (rule
        shared-rows-first).
        """
        lacks_shared = self._insert.lacks_shared(batch)
        if lacks_shared or self._dimension_records.lacks_shared(batch.events):
            with self._transaction(batch, limits):
                self._dimension_records.insert_shared(batch.events)
                if lacks_shared:
                    self._insert.insert_shared(batch)
            self._dimension_records.remember()
            self._insert.remember_shared(batch)

    def insert(self, events: Sequence[ParsedEvent], limits: Limits | None = None) -> Counts:
        """Insert some events, inside of the caller's transaction."""
        self._dimension_records.refuse_new(events)
        return self._insert_all(Batch.of(events), limits, WriteTimes(), is_own=False)

    def _insert_all(
        self, batch: Batch, limits: Limits | None, times: WriteTimes, *, is_own: bool = True
    ) -> Counts:
        with self._transaction(batch, limits):
            if self._removals is not None:
                self._removals.check()
            mismatched, replaced = self._dimension_records.insert(batch.events)
            self._dimension_records.refuse_dangling(batch.events)
            times.records_inserted()
            inserted = self._insert.insert(batch)
            lost_tags = 0
            if self._tagging is not None and batch.datasets:
                lost_tags = self._tagging.write(batch)
            if not is_own:  # there is no commit here at which an error would be raised
                with self._tables.connection() as connection:
                    send_waiting(connection)
        return Counts(inserted, mismatched, lost_tags, replaced)

    @contextmanager
    def _transaction(self, batch: Batch, limits: Limits | None) -> Iterator[None]:
        """Return a context with a transaction that inserts rows of a batch."""
        names = self._names_of_current_types(batch)
        try:
            with self._butler.transaction():
                if limits is not None:
                    with self._tables.connection() as connection:
                        limits.set(connection)
                are_new = self._new_sessions.take()  # the transaction has its session by now
                if are_new:
                    self._dimension_records.forget()
                if are_new or self._tables.may_reuse_keys:
                    self._insert.forget()
                    if not self._tables.are_current(names):
                        raise self._outdated()  # noqa: TRY301
                yield
        except BaseException as exc:
            self._insert.forget()
            if any(isinstance(link, IntegrityError) for link in exception_chain(exc)):
                self._dimension_records.forget()
                if not self._tables.are_current(names):
                    raise self._outdated() from exc
                self._insert.find_refused(batch)
            raise

    @property
    def is_outdated(self) -> bool:
        """Whether dataset types have changed, or something was removed beside the workers.

        The events must then be prepared again.
        """
        removals = self._removals
        return self._types.is_outdated or (removals is not None and removals.is_exceeded)

    def forget(self) -> None:
        """Forget the keys that were looked up: what was registered is gone."""
        self._insert.forget()

    def _names_of_current_types(self, batch: Batch) -> list[str]:
        """Return the names of the dataset types of a batch, which must be as this Butler has them.

        Raises
        ------
        RetryableError
            If they are not: this Butler or the one that parsed the events is outdated.
        """
        types = {id(kind): kind for d in batch.datasets.values() for kind in [d.ref.datasetType]}
        for kind in types.values():
            try:
                known = self._butler.get_dataset_type(kind.name)
            except MissingDatasetTypeError as exc:
                raise self._outdated() from exc
            if known != kind:
                raise self._outdated()
        return sorted({kind.name for kind in types.values()})

    def _outdated(self) -> RetryableError:
        """Forget what was looked up; return the reason why the window must be prepared again."""
        self._types.is_outdated = True
        self._insert.forget()
        self._dimension_records.forget()
        self._butler.registry.refresh()
        return RetryableError("a dataset type has changed: all are looked up again")
