"""Decide by a probe whose fault a failure is (rule fault-decided-by-evidence)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import structlog
from lsst.daf.butler import Butler
from sqlalchemy import Table

from app.butler.commit.division import Counts, DividedWrite
from app.butler.descriptions import describe_with_type
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import Failure, RetryableError, classify, exception_chain
from app.butler.files.denial import is_denied
from app.butler.outcome import Failed, Rejection
from app.butler.policy import WritePolicy
from app.butler.private.datastores import Datastores, FileStore
from app.butler.private.probe import Probe
from app.butler.private.registry import RegistryTables
from app.butler.private.rights import (
    UncertainRightError,
    check_rights,
    lacking_rights,
    required_grants,
)
from models.causes import Cause

__all__ = ["Examination", "alarm_about_rights", "lacks_uncertain_right"]

logger = structlog.get_logger("butler_writer")

#: Dimension elements of which almost every event brings records; so are those that they populate.
_ORDINARY = frozenset({"day_obs", "exposure", "group", "visit", "visit_system"})

#: A file that a datastore is asked for; it need not exist.
_ANY_FILE = "butler.yaml"


class Examination:
    """Finds out whether the repository or some events are at fault.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The Butler whose write failed.
    datastores : `Datastores`
        The datastores.
    policy : `WritePolicy`
        The staging roots.
    """

    def __init__(self, butler: Butler, datastores: Datastores, policy: WritePolicy) -> None:
        self._butler = butler
        self._datastores = datastores
        self._policy = policy
        self._probe = Probe(butler)

    def check_repository(self) -> None:
        """Check that the repository takes what every write needs, and that its stores answer.

        Raises
        ------
        RetryableError
            If not.
        """
        tables = RegistryTables(self._butler)
        permitted = partial(self._permitted, tables, ())
        with self._probe.transaction(permitted, tables.check_readable):
            pass
        self._check_stores()

    def takes_as_many(self, event: ParsedEvent, times: int, seconds: float) -> bool:
        """Tell whether the repository takes as many other rows as an event has, within a time.

        Parameters
        ----------
        event : `ParsedEvent`
            The event; it says which tables are written to.
        times : `int`
            How many rows each table gets.
        seconds : `float`
            The time.
        """
        tables = RegistryTables(self._butler)
        return self._probe.takes_rows(lambda: self._tables(tables, [event]), times, seconds)

    def find_failures(
        self,
        insert: Callable[[Sequence[ParsedEvent]], Counts],
        events: Sequence[ParsedEvent],
        is_current: Callable[[], bool],
    ) -> Mapping[ParsedEvent, Failed]:
        """Find the events that cannot be inserted where other rows can be.

        Nothing is written: everything happens in one transaction that is rolled back.  No row of
        the probe goes into a table that few events need and that the database user has no right
        to: the events that need it are at fault.

        Parameters
        ----------
        insert : `~collections.abc.Callable`
            Inserts events in the caller's transaction.
        events : `~collections.abc.Sequence` [`ParsedEvent`]
            The events.
        is_current : `~collections.abc.Callable`
            Whether the window's partitions are still assigned to this worker.

        Raises
        ------
        AbandonedError
            If the window's partitions were revoked.
        RetryableError
            If the repository does not take other rows.
        """

        def try_insert(some: Sequence[ParsedEvent]) -> Counts:
            with self._probe.savepoint():
                return insert(some)

        tables = RegistryTables(self._butler)
        trial = DividedWrite(try_insert, dict(enumerate(events)), is_current)
        with self._probe.transaction(partial(self._permitted, tables, events)):
            trial.run()
        logger.warning(
            "the repository takes other rows, so the events that it refuses are at fault",
            events=len(events),
            refused=len(trial.failed),
        )
        return {
            event: self._with_grants(tables, event, failed)
            for event, failed in trial.failed.items()
        }

    def _permitted(self, tables: RegistryTables, events: Sequence[ParsedEvent]) -> list[Table]:
        """Return the tables that a write touches, without those that few events need and none may.

        Raises
        ------
        MissingRightError
            If the database user lacks a right to a table that the events of every new visit need,
            or to that of a dataset type, which may be rare (`UncertainRightError`).
        """
        required = self._tables(tables, events)
        ordinary = self._tables(tables, events, is_element_included=self._is_ordinary)
        of_types = tables.of_types(_type_names(events))
        with tables.connection() as connection:
            check_rights(connection, [each for each in ordinary if each not in of_types])
            check_rights(connection, of_types, UncertainRightError)
            lacking = lacking_rights(
                connection, [each for each in required if each not in ordinary]
            )
        return [table for table in required if table not in lacking]

    def _with_grants(self, tables: RegistryTables, event: ParsedEvent, failed: Failed) -> Failed:
        """Add to a reason which rights the event needs."""
        if failed.rejection.cause is not Cause.MISSING_RIGHT:
            return failed
        with tables.connection() as connection:
            lacking = lacking_rights(connection, self._tables(tables, [event]))
            statements = required_grants(connection, lacking)
        reason = "; ".join([failed.rejection.reason, *statements])
        return Failed(Rejection(Cause.MISSING_RIGHT, reason), failed.failure)

    def _is_ordinary(self, name: str) -> bool:
        """Tell whether almost every event brings records of a dimension element."""
        populated_by = self._butler.dimensions[name].populated_by
        return name in _ORDINARY or (populated_by is not None and populated_by.name in _ORDINARY)

    def _tables(
        self,
        tables: RegistryTables,
        events: Sequence[ParsedEvent],
        is_element_included: Callable[[str], bool] = lambda _: True,
    ) -> list[Table]:
        brought = {element for event in events for element, _ in event.records}
        elements = filter(is_element_included, brought)
        stores = self._datastores.stores
        return [
            *tables.written(sorted(elements), _type_names(events)),
            *(store.locations_table for store in stores[:1]),
            *(store.records_table for store in stores),
        ]

    def _check_stores(self) -> None:
        """Check that each datastore and each staging root answers a question."""
        self._datastores.check_mounted()
        try:
            for store in self._datastores.stores:
                self._check_store(store)
            for root in self._policy.staging_roots:
                if not is_denied(file := root.join(_ANY_FILE)):  # a denial is an answer
                    file.exists()
        except Exception as exc:
            raise RetryableError(
                f"a file store does not answer: {describe_with_type(exc)}",
                alarm=classify(exc) is not Failure.RETRY,
            ) from exc

    def _check_store(self, store: FileStore) -> None:
        try:
            store.exists(_ANY_FILE)
        except PermissionError:  # S3's answer for a missing file if s3:ListBucket is not granted
            self._datastores.check_access(store, _ANY_FILE)


def lacks_uncertain_right(error: BaseException) -> bool:
    """Tell whether the database user lacks a right that other events may not need."""
    return any(isinstance(link, UncertainRightError) for link in exception_chain(error))


def _type_names(events: Iterable[ParsedEvent]) -> list[str]:
    return sorted({ref.datasetType.name for event in events for ref in event.refs})


def alarm_about_rights(events: Iterable[ParsedEvent | Failed]) -> None:
    """Log each event that was rejected because the database user lacks a right."""
    for event in events:
        if isinstance(event, Failed) and event.rejection.cause is Cause.MISSING_RIGHT:
            logger.error(
                "the database user lacks a right that an event needs; its letter can be replayed "
                "once the right is granted",
                reason=event.rejection.reason,
            )
