"""A window's events, into the Butler: one transaction, and around it what makes that safe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeAlias

import structlog
from lsst.daf.butler import Butler
from sqlalchemy.exc import IntegrityError

from app.butler.division import Counts, DividedWrite, Failed, attempt, blame_nobody_for_all
from app.butler.events.parse import EventParser, WindowParser
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import Failure, causes
from app.butler.files.check import FileChecker
from app.butler.files.staging import StagedArtifacts
from app.butler.insert.batch import Batch
from app.butler.insert.bulk_insert import RecordsPath
from app.butler.insert.dimension_records import DimensionRecords
from app.butler.insert.ingest import PublicPath
from app.butler.outcome import Rejection, WriteReport
from app.butler.policy import WritePath, WritePolicy
from app.butler.private.coverage import uncovered_parts
from app.butler.private.datastores import Datastores
from app.butler.private.registry import RegistryTables
from app.butler.repository.dataset_types import DatasetTypes
from models.prompt_output import PromptOutput

__all__ = ["ButlerWriter", "ReadWindow"]

ReadWindow: TypeAlias = Sequence[ParsedEvent | Failed]
"""The events of a window, read: what each says, or why it cannot be written."""

logger = structlog.get_logger("butler_writer")


class _Path(Protocol):
    def insert(self, batch: Batch) -> int: ...
    def blame(self, batch: Batch) -> None: ...
    def forget(self) -> None: ...


class ButlerWriter:
    """Writes windows of events into a repository.

    One thread may read a window while another one commits the window before; each does one thing at
    a time, and has a Butler of its own, which is not for two.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The writer's own.
    policy : `WritePolicy`
        What the operator decided.
    """

    def __init__(self, butler: Butler, policy: WritePolicy) -> None:
        self._butler = butler
        reader = butler.clone()
        self._types = DatasetTypes(reader)
        datastores = Datastores(reader)
        self._parser = EventParser(reader, policy, datastores, self._types)
        self._files = FileChecker(datastores, policy)
        self._staged = StagedArtifacts(datastores, policy)
        self._path, self._dimension_records = _choose_path(butler, policy, datastores)

    def write(
        self, outputs: Sequence[PromptOutput], *, wanted: Callable[[], bool] = lambda: True
    ) -> WriteReport:
        """Read the events of a window, and commit them (see `read` and `commit`)."""
        return self.commit(self.read(outputs, wanted=wanted), wanted=wanted)

    def read(
        self, outputs: Sequence[PromptOutput], *, wanted: Callable[[], bool] = lambda: True
    ) -> ReadWindow:
        """Read the events of a window: what they say, and whether their artifacts are there.

        Dataset types that they bring are registered, staged artifacts are brought home.

        Parameters
        ----------
        outputs : `~collections.abc.Sequence` [`PromptOutput`]
            The events; what several of them have in common is read once.
        wanted : `~collections.abc.Callable`
            Asked between tries; false once the window's partitions are revoked.

        Returns
        -------
        events : `ReadWindow`
            What `commit` takes.

        Raises
        ------
        AbandonedError
            If the window is no longer wanted.
        RetryableError
            If nothing can be said of the events now; to read the same window again is safe.
        """
        events = self._check_files(self._parse(outputs, wanted), wanted)
        # Here, not by `commit`: to commit it again would not look again.
        blame_nobody_for_all([e for e in events if isinstance(e, Failed)], len(events))
        return events

    def commit(
        self, events: ReadWindow, *, wanted: Callable[[], bool] = lambda: True
    ) -> WriteReport:
        """Write the events of a window: one transaction, unless some of them cannot be written.

        Parameters
        ----------
        events : `ReadWindow`
            What `read` has returned; what several of them have in common is written once.
        wanted : `~collections.abc.Callable`
            Asked between tries; false once the window's partitions are revoked.

        Returns
        -------
        report : `WriteReport`
            What became of each event.

        Raises
        ------
        AbandonedError
            If the window is no longer wanted.
        RetryableError
            If nothing can be said of the events now; to commit the same window again is safe.
        """
        write = DividedWrite(self._write_batch, events, wanted)
        write.run()
        self._staged.remove(write.written)
        return WriteReport(write.outcomes, **vars(write.counts))

    def _parse(self, outputs: Sequence[PromptOutput], wanted: Callable[[], bool]) -> ReadWindow:
        """Read the events, after the dataset types of all of them have been registered."""
        window = WindowParser(self._parser)

        def register(output: PromptOutput) -> None:
            self._types.register(output.dataset_types or [])

        registered = [attempt(partial(register, output), wanted) for output in outputs]
        return [
            result if isinstance(result, Failed) else attempt(partial(window.parse, output), wanted)
            for result, output in zip(registered, outputs, strict=True)
        ]

    def _check_files(self, events: ReadWindow, wanted: Callable[[], bool]) -> ReadWindow:
        """Bring staged artifacts home; put aside the events whose artifacts are not there."""
        parsed = [event for event in events if isinstance(event, ParsedEvent)]
        missing = attempt(partial(self._missing, parsed, wanted), wanted)
        if isinstance(missing, Failed):  # over one of them, perhaps: find out which
            each = (attempt(partial(self._missing, [event], wanted), wanted) for event in parsed)
            missing = [one if isinstance(one, Failed) else one[0] for one in each]
        verdicts = iter(zip(parsed, missing, strict=True))
        return [
            event if isinstance(event, Failed) else _verdict(*next(verdicts)) for event in events
        ]

    def _missing(
        self, events: Sequence[ParsedEvent], wanted: Callable[[], bool]
    ) -> list[list[str] | Failed]:
        staged = iter(self._staged.bring_home([e for e in events if e.staging], wanted))
        at_home = iter(self._files.missing([e for e in events if not e.staging], wanted))
        return [next(staged) if event.staging else next(at_home) for event in events]

    def _write_batch(self, events: Sequence[ParsedEvent]) -> Counts:
        """Write some events in one transaction."""
        batch = Batch.of(events)
        try:
            with self._butler.transaction():
                mismatched = self._dimension_records.insert(events)
                self._dimension_records.refuse_dangling(events)
                inserted = self._path.insert(batch)
        except BaseException as exc:
            self._path.forget()
            if any(isinstance(cause, IntegrityError) for cause in causes(exc)):
                self._dimension_records.forget()
                self._path.blame(batch)
            raise
        self._dimension_records.remember()
        return Counts(inserted, len(batch.datasets) - inserted, mismatched)


def _verdict(event: ParsedEvent, missing: list[str] | Failed) -> ParsedEvent | Failed:
    if isinstance(missing, Failed):
        return missing
    if not missing:
        return event
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    rejection = Rejection("FileNotFoundError", f"{missing[0]} is not there{more}")
    return Failed(rejection, Failure.POISON)


def _choose_path(
    butler: Butler, policy: WritePolicy, datastores: Datastores
) -> tuple[_Path, DimensionRecords]:
    if policy.write_path is WritePath.PUBLIC:
        return PublicPath(butler), DimensionRecords(butler)
    if uncovered := uncovered_parts(butler):
        logger.warning(
            "this repository has parts that the fast write path is not tested with; "
            "datasets are written through Butler.ingest, at half the speed",
            parts=uncovered,
        )
        return PublicPath(butler), DimensionRecords(butler)
    tables = RegistryTables(butler)
    return RecordsPath(tables, datastores), DimensionRecords(butler, tables.having_records)
