"""Write windows of events into the Butler: prepare a window, then commit it in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

from lsst.daf.butler import Butler, MissingDatasetTypeError
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.butler.division import Counts, DividedWrite, attempt
from app.butler.events.context import ParsingContext
from app.butler.events.parse import WindowParser
from app.butler.events.parsed import ParsedEvent
from app.butler.examination import Examination, alarm_about_rights
from app.butler.failures import Failure, RetryableError, exception_chain
from app.butler.files.check import FileChecker
from app.butler.files.staging import StagedArtifacts
from app.butler.insert.batch import Batch
from app.butler.insert.choice import choose_insert
from app.butler.outcome import Failed, Rejection, WriteReport
from app.butler.policy import WritePolicy
from app.butler.private.datastores import Datastores
from app.butler.private.registry import RegistryTables, engine_of
from app.butler.repository.dataset_types import DatasetTypes
from models.causes import Cause
from models.fields import EventContent

__all__ = ["ButlerWriter", "PreparedWindow"]

K = TypeVar("K", bound=Hashable)

PreparedWindow: TypeAlias = Mapping[K, ParsedEvent | Failed]
"""The events of a window, in their order: each parsed, or with the reason why it cannot be
written."""

_Missing: TypeAlias = list[str] | Failed
"""The artifacts that an event lacks, or the reason why it cannot be written."""


class ButlerWriter:
    """Writes windows of events into a repository.

    One thread may prepare a window while another one commits the previous window.  Each method may
    be used by one thread at a time, and uses a Butler of its own.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The Butler to write with; used by nothing else.
    policy : `WritePolicy`
        The operator's choices.
    """

    def __init__(self, butler: Butler, policy: WritePolicy) -> None:
        self._butler = butler
        reader = butler.clone()
        self._types = DatasetTypes(reader)
        datastores = Datastores(reader)
        self._context = ParsingContext(reader, policy, datastores, self._types)
        self._files = FileChecker(datastores, policy)
        self._staged = StagedArtifacts(datastores, policy)
        self._insert, self._dimension_records = choose_insert(butler, policy, datastores)
        self._prepare_examination = Examination(reader, datastores, policy)
        self._tables = RegistryTables(butler)
        self._commit_examination = Examination(butler, datastores, policy)

    def prepare(
        self, events: Mapping[K, EventContent], *, is_current: Callable[[], bool]
    ) -> PreparedWindow[K]:
        """Parse the events of a window, and check that their artifacts exist.

        Dataset types that the events bring are registered, and staged artifacts are copied to the
        datastore.  Both are safe to repeat.

        Parameters
        ----------
        events : `~collections.abc.Mapping` [`K`, `EventContent`]
            The events; what they have in common is parsed once.
        is_current : `~collections.abc.Callable`
            Called between attempts; returns `False` once the window's partitions are revoked.

        Returns
        -------
        prepared : `PreparedWindow`
            The argument for `commit`, with the same keys in the same order.

        Raises
        ------
        AbandonedError
            If the window's partitions were revoked.
        RetryableError
            If the events cannot be judged now; preparing the same window again is safe.
        """
        self._types.forget_outdated()
        parsed = self._parse(events, is_current)
        if any(isinstance(event, Failed) for event in parsed.values()) and self._look_again():
            parsed = self._parse(events, is_current)
        prepared = self._check_files(parsed, is_current)
        unknown = {
            key: events[key]
            for key, event in prepared.items()
            if isinstance(event, Failed) and event.failure is not Failure.POISON
        }
        if unknown:
            self._prepare_examination.check_repository()
            # What fails again is at fault.
            again = self._check_files(self._parse(unknown, is_current), is_current)
            alarm_about_rights(again.values())
            prepared |= again
        return prepared

    def commit(
        self, prepared: PreparedWindow[K], *, is_current: Callable[[], bool]
    ) -> WriteReport[K]:
        """Write the events of a window: in one transaction, unless some cannot be written.

        Parameters
        ----------
        prepared : `PreparedWindow`
            What `prepare` returned.
        is_current : `~collections.abc.Callable`
            As for `prepare`.

        Returns
        -------
        report : `WriteReport`
            The outcome of each event.

        Raises
        ------
        AbandonedError
            If the window's partitions were revoked.
        RetryableError
            If the events cannot be written now; committing the same window again is safe.
        """

        def examine(suspects: Sequence[ParsedEvent]) -> Mapping[ParsedEvent, Failed]:
            try:
                return self._commit_examination.find_failures(
                    self._insert_batch, suspects, is_current
                )
            finally:
                self._insert.forget()  # what the examination has registered is gone

        write = DividedWrite(self._write_batch, prepared, is_current, examine)
        write.run()
        self._staged.remove(write.written)
        return WriteReport(write.outcomes, **vars(write.counts))

    def ask_database(self) -> None:
        """Wait for an answer of the database; any thread may do so at any time.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            If there is none.
        """
        with engine_of(self._butler).connect() as connection:
            connection.execute(text("SELECT 1"))

    def _look_again(self) -> bool:
        return attempt(self._types.look_again, lambda: True) is True

    def _parse(
        self, events: Mapping[K, EventContent], is_current: Callable[[], bool]
    ) -> dict[K, ParsedEvent | Failed]:
        """Parse the events, after the dataset types of all of them are registered."""
        window = WindowParser(self._context)

        def register(event: EventContent) -> None:
            self._types.register(event.dataset_types or [])

        registered = {
            key: attempt(partial(register, event), is_current) for key, event in events.items()
        }
        return {
            key: failed
            if isinstance(failed := registered[key], Failed)
            else attempt(partial(window.parse, event), is_current)
            for key, event in events.items()
        }

    def _check_files(
        self, events: Mapping[K, ParsedEvent | Failed], is_current: Callable[[], bool]
    ) -> dict[K, ParsedEvent | Failed]:
        """Copy staged artifacts to the datastore, and reject the events that lack artifacts."""
        parsed = [event for event in events.values() if isinstance(event, ParsedEvent)]
        missing = attempt(partial(self._missing, parsed, is_current), is_current)
        if isinstance(missing, Failed):  # perhaps because of a single event: check one by one
            missing = {event: self._missing_of_one(event, is_current) for event in parsed}
        return {
            key: event if isinstance(event, Failed) else _verdict(event, missing[event])
            for key, event in events.items()
        }

    def _missing(
        self, events: Sequence[ParsedEvent], is_current: Callable[[], bool]
    ) -> dict[ParsedEvent, _Missing]:
        staged = [event for event in events if event.staging]
        unstaged = [event for event in events if not event.staging]
        return {
            **self._staged.copy_to_datastores(staged, is_current),
            **self._files.missing(unstaged, is_current),
        }

    def _missing_of_one(self, event: ParsedEvent, is_current: Callable[[], bool]) -> _Missing:
        missing = attempt(partial(self._missing, [event], is_current), is_current)
        return missing if isinstance(missing, Failed) else missing[event]

    def _write_batch(self, events: Sequence[ParsedEvent]) -> Counts:
        """Write some events in one transaction."""
        counts = self._insert_batch(events)
        self._dimension_records.remember()
        return counts

    def _insert_batch(self, events: Sequence[ParsedEvent]) -> Counts:
        """Insert some events, in a transaction of their own or inside of the caller's."""
        batch = Batch.of(events)
        names = self._names_of_current_types(batch)
        try:
            with self._butler.transaction():
                if self._tables.may_reuse_keys:
                    self._insert.forget()
                    if not self._tables.are_current(names):
                        raise self._outdated()  # noqa: TRY301
                mismatched = self._dimension_records.insert(events)
                self._dimension_records.refuse_dangling(events)
                inserted = self._insert.insert(batch)
        except BaseException as exc:
            self._insert.forget()
            if any(isinstance(link, IntegrityError) for link in exception_chain(exc)):
                self._dimension_records.forget()
                if not self._tables.are_current(names):
                    raise self._outdated() from exc
                self._insert.find_refused(batch)
            raise
        return Counts(inserted, len(batch.datasets) - inserted, mismatched)

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


def _verdict(event: ParsedEvent, missing: _Missing) -> ParsedEvent | Failed:
    if isinstance(missing, Failed):
        return missing
    if not missing:
        return event
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    rejection = Rejection(Cause.MISSING_FILE, f"{missing[0]} does not exist{more}")
    return Failed(rejection, Failure.POISON)
