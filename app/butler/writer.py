"""Write windows of events into the Butler: prepare a window, then commit it in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from lsst.daf.butler import Butler
from lsst.daf.butler.registry import ConflictingDefinitionError

from app.butler.allowed.checks import AllowedNames
from app.butler.artifacts import ArtifactCheck
from app.butler.commit.division import attempt
from app.butler.commit.examination import Examination, alarm_about_rights
from app.butler.commit.isolation import Turn
from app.butler.commit.transaction import EventTransaction
from app.butler.commit.window import PreparedWindow, WindowCommit
from app.butler.events.context import ParsingContext
from app.butler.events.limits import EventLimits
from app.butler.events.parse import WindowParser
from app.butler.events.parsed import ParsedEvent
from app.butler.events.part import PartOfEvent
from app.butler.events.proportion import check_proportion, used_dataset_types
from app.butler.failures import Failure, RetryableError
from app.butler.insert.choice import choose_insert
from app.butler.insert.overlaps import OverlapRows
from app.butler.insert.tagging import Tagging
from app.butler.outcome import Failed, Rejection, WriteReport
from app.butler.policy import ReplicaPolicy, WritePolicy
from app.butler.private.datastores import Datastores
from app.butler.private.removals import Removals
from app.butler.products.contents import ProductContents, SerializedEvents, WrittenProducts
from app.butler.repository.dataset_types import DatasetTypes
from app.butler.repository.new_types import NewTypes
from models.causes import Cause
from models.fields import EventContent

__all__ = ["ButlerWriter", "PreparedWindow"]

K = TypeVar("K", bound=Hashable)

_FIRST_TURN = Turn()

#: How long the events of a window are parsed one by one after a failure, in seconds.
_LONGEST_PARSE = 15.0


class ButlerWriter:
    """Writes windows of events into a repository; one thread may use it at a time.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The Butler to write with; no other thread uses it.
    policy : `WritePolicy`
        The operator's choices.
    limits : `EventLimits`, optional
        How much an event may have; without it, the defaults apply.
    new_types : `NewTypes`, optional
        Counts the dataset types that events add; several writers of a worker share it.
    replica : `ReplicaPolicy`, optional
        If this is a downstream repository: how it gets its artifacts.
    removals : `Removals`, optional
        If it is one: nothing is written once more was removed than that.
    """

    def __init__(
        self,
        butler: Butler,
        policy: WritePolicy,
        limits: EventLimits | None = None,
        new_types: NewTypes | None = None,
        *,
        replica: ReplicaPolicy | None = None,
        removals: Removals | None = None,
    ) -> None:
        self._butler = butler
        self._limits = limits or EventLimits()
        self._types = DatasetTypes(butler, new_types or NewTypes(policy.new_dataset_types or 0))
        self._allowed = AllowedNames(butler, policy)
        datastores = Datastores(butler)
        self._context = ParsingContext(
            butler, policy, datastores, self._types, self._limits, replica=replica
        )
        self._artifacts = ArtifactCheck(datastores, policy, replica)
        self._products = ProductContents(butler, datastores)
        self._overlaps = OverlapRows(butler.dimensions, self._limits)
        insert, records = choose_insert(
            butler,
            policy,
            datastores,
            self._overlaps,
            refers=self._context.referred_root is not None,
        )
        self._examination = Examination(butler, datastores, policy)
        self._commit = WindowCommit(
            EventTransaction(
                butler,
                self._types,
                insert,
                records,
                Tagging.of(butler, replica),
                removals=removals,
            ),
            self._examination,
            self._overlaps,
            policy,
        )

    def prepare(
        self,
        events: Mapping[K, EventContent],
        *,
        is_current: Callable[[], bool],
        turn: Turn = _FIRST_TURN,
    ) -> PreparedWindow[K]:
        """Parse the events of a window, and check that their artifacts exist.

        Dataset types that the events bring are registered, and staged artifacts are copied to the
        datastore.  Both are safe to repeat.

        Parameters
        ----------
        events : `~collections.abc.Mapping` [`K`, `EventContent`]
            The events; what they have in common is parsed once.  They are asked for one after
            another and not kept, so they may be decoded then.
        is_current : `~collections.abc.Callable`
            Called between attempts; returns `False` once the window's partitions are revoked.
        turn : `Turn`, optional
            Which attempt to prepare the window this is.

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
        parsed = self._parse(events, is_current, turn)
        if any(_is_rejected(event) for event in parsed.values()) and self._look_again():
            parsed = self._parse(events, is_current, turn)
        prepared = self._artifacts.check(parsed, is_current, turn)
        unknown = [
            key
            for key, event in prepared.items()
            if isinstance(event, Failed) and event.failure in (Failure.UNKNOWN, Failure.RACE)
        ]
        if unknown or any(map(_is_failing, prepared.values())):
            self._examination.check_repository()  # then those that fail wait alone
        if unknown:
            # What fails again is at fault.
            parsed = self._parse(events, is_current, turn, unknown)
            again = self._artifacts.check(parsed, is_current, turn)
            alarm_about_rights(again.values())
            prepared |= again
        return prepared

    def commit(
        self,
        prepared: PreparedWindow[K],
        *,
        is_current: Callable[[], bool],
        turn: Turn = _FIRST_TURN,
    ) -> WriteReport[K]:
        """Write the events of a window: in one transaction, unless some cannot be written.

        Parameters
        ----------
        prepared : `PreparedWindow`
            What `prepare` returned.
        is_current : `~collections.abc.Callable`
            As for `prepare`.
        turn : `Turn`, optional
            Which attempt to write the window this is.

        Returns
        -------
        report : `WriteReport`
            The outcome of each event, and the events that are to be written later.

        Raises
        ------
        AbandonedError
            If the window's partitions were revoked.
        RetryableError
            If the events cannot be written now; committing the same window again is safe.
        """
        report, written = self._commit.run(prepared, turn, is_current)
        self._artifacts.remove_staged(written)
        return report

    def serialize_products(self, events: Sequence[ParsedEvent]) -> SerializedEvents:
        """Serialize the datasets of prepared events, for `products`.

        Unlike all other methods, it may be called in another thread, while `commit` writes them.
        """
        return self._products.serialize(events)

    def products(self, serialized: SerializedEvents) -> WrittenProducts:
        """Return the datasets of written events, with all that another repository needs of them.

        Parameters
        ----------
        serialized : `SerializedEvents`
            Those of a window's events that are written.

        Raises
        ------
        RetryableError
            If the repository cannot be asked now.
        """
        products = attempt(lambda: self._products.complete(serialized), lambda: True)
        if isinstance(products, Failed):
            raise RetryableError(products.rejection.reason, alarm=True)
        return products

    def _look_again(self) -> bool:
        return attempt(self._types.look_again, lambda: True) is True

    def _parse(
        self,
        events: Mapping[K, EventContent],
        is_current: Callable[[], bool],
        turn: Turn,
        keys: Iterable[K] | None = None,
    ) -> dict[K, ParsedEvent | Failed]:
        """Parse all or some events, one at a time, and register the dataset types they bring."""
        window = WindowParser(self._context)
        deadline = time.monotonic() + _LONGEST_PARSE

        def parse(event: EventContent) -> ParsedEvent:
            check_proportion(event, self._limits)
            event, refused = self._register_types(event)
            parsed = window.parse(event)
            if self._context.is_replica:
                parsed = replace(parsed, is_divisible=True, left_out=refused)
            self._allowed.check(parsed, names_chains=event.chains is not None)
            self._overlaps.check(parsed)
            return parsed

        def attempt_to_parse(event: EventContent) -> ParsedEvent | Failed:
            try:
                if turn.is_repeated and time.monotonic() > deadline:
                    return Failed.for_lack_of_time()
                return attempt(partial(parse, event), is_current)
            except RetryableError as exc:
                if not turn.is_repeated:
                    raise
                return Failed.of(exc)

        chosen = events.items() if keys is None else ((key, events[key]) for key in keys)
        parsed = {key: attempt_to_parse(event) for key, event in chosen}
        # An event may use a dataset type that one after it has brought.
        for key in [key for key, event in parsed.items() if _lacks_type(event)]:
            parsed[key] = attempt_to_parse(events[key])
        return parsed

    def _register_types(self, event: EventContent) -> tuple[EventContent, Rejection | None]:
        """Register the dataset types that an event brings.

        Of a message of the product log, return what is left without the types that differ from
        those of the repository, and why it lacks these.
        """
        types = event.dataset_types
        if not types:
            return event, None
        try:
            self._types.register(types, used_dataset_types(event))
        except ConflictingDefinitionError as exc:
            if not self._context.is_replica:
                raise
            part = PartOfEvent(event, self._types.conflicting(types))
            if not part.datasets:
                raise
            self._types.register(part.dataset_types, used_dataset_types(part))
            return part, Rejection.of(exc)
        return event, None


def _is_failing(event: ParsedEvent | Failed) -> bool:
    return isinstance(event, Failed) and event.failure is Failure.RETRY


def _is_rejected(event: ParsedEvent | Failed) -> bool:
    return isinstance(event, Failed) and event.failure is not Failure.RETRY


def _lacks_type(event: ParsedEvent | Failed) -> bool:
    return isinstance(event, Failed) and event.rejection.cause is Cause.UNKNOWN_DATASET_TYPE
