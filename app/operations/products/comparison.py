"""Compares a downstream repository with its source, under the release rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID, uuid4

from lsst.daf.butler import DatasetRef

from app.butler.private.ingest_dates import Period
from app.butler.products.contents import WrittenProducts
from app.butler.products.messages import product_messages
from app.butler.products.stored_products import StoredProducts
from app.downstream.selection import Selection
from app.downstream.withdrawn import Withdrawn
from app.errors import OperatorError
from app.operations.products.found import Found, difference_of
from app.parts import Replica
from models.fields import FileDatasetFields
from models.product import Products

__all__ = ["Comparison", "Difference", "Finding", "State", "check_universes"]

#: No limit on the size of messages that are not sent.
_NO_LIMIT = 2**62


class Finding(StrEnum):
    """What is wrong with a dataset of a downstream repository."""

    MISSING = "missing"
    """The source has it, it is released, and the downstream repository does not have it."""

    EXTRA = "extra"
    """The downstream repository has it, and today's rules would not have let it in."""

    DIFFERENT = "different"
    """It is not the same in both."""


class State(StrEnum):
    """What is right with a dataset."""

    SAME = "same"
    """It is the same in both."""

    WAITING = "waiting"
    """It is not in the downstream repository, since it is under embargo."""

    HELD = "held"
    """It is not there, since it has an embargo and no known end of its observation."""

    EXCLUDED = "excluded"
    """It is not there, and will not be."""

    REMOVED = "removed"
    """It is there, rightly, and the source no longer has it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A dataset with which something is wrong.

    Attributes
    ----------
    finding : `Finding`
        What is wrong.
    id, dataset_type, run : `str`
        The dataset.
    reason : `str`
        More about it, in one line.
    """

    finding: Finding
    id: str
    dataset_type: str
    run: str
    reason: str


def check_universes(source: StoredProducts, target: StoredProducts) -> None:
    """Check that two repositories have the same dimension universe.

    Raises
    ------
    OperatorError
        If they differ: the rules of the one would not be those of the other.
    """
    own, other = (each.butler.dimensions for each in (target, source))
    if (own.namespace, own.version) != (other.namespace, other.version):
        raise OperatorError(
            f"the source has version {other.version} of the dimension universe {other.namespace}, "
            f"and BUTLER_REPOSITORY version {own.version} of {own.namespace}: they must be the same"
        )


@dataclass
class Comparison:
    """Compares a downstream repository with its source.

    Parameters
    ----------
    source, target : `StoredProducts`
        The datasets of both.
    replica : `Replica`
        Selects what is released.
    now : `int`
        The time, in nanoseconds of Unix time.
    withdrawn : `Withdrawn`, optional
        What must not be there.

    Attributes
    ----------
    counts : `~collections.Counter` [`str`]
        How many datasets have each `Finding` or `State`.
    """

    source: StoredProducts
    target: StoredProducts
    replica: Replica
    now: int
    withdrawn: Withdrawn = field(default_factory=Withdrawn)
    counts: Counter[str] = field(default_factory=Counter)

    def of_run(self, run: str, period: Period) -> Iterator[Difference]:
        """Yield what is wrong with the datasets of a run that came in a period.

        Parameters
        ----------
        run : `str`
            The run.
        period : `Period`
            When they came into the source; those that it does not have: into the target.
        """
        for differences in (self._of_source(run, period), self._of_target(run, period)):
            for difference in differences:
                self.counts[difference.finding] += 1
                yield difference

    def _of_source(self, run: str, period: Period) -> Iterator[Difference]:
        for event in self.source.of_run(run, period=period):
            source = Found.of(self.source, event)
            target = Found.of(self.target, self.target.of_ids([*source.datasets]))
            verdicts = self._verdicts(source)
            for dataset_id, (ref, _) in source.datasets.items():
                state = verdicts.of(dataset_id)
                if dataset_id not in target.datasets:
                    if state is None:
                        yield _difference(Finding.MISSING, ref, "")
                    else:
                        self.counts[state] += 1
                elif state is not None:
                    yield _difference(Finding.EXTRA, ref, state.value)
                elif reason := difference_of(dataset_id, source, target):
                    yield _difference(Finding.DIFFERENT, ref, reason)
                else:
                    self.counts[State.SAME] += 1

    def _of_target(self, run: str, period: Period) -> Iterator[Difference]:
        """Yield what is wrong with datasets that the source does not have (any more)."""
        for event in self.target.of_run(run, period=period):
            there = {ref.id for ref in self.source.of_ids([ref.id for ref in event.refs]).refs}
            if all(ref.id in there for ref in event.refs):
                continue
            target = Found.of(self.target, event)
            verdicts = self._verdicts(target)
            for dataset_id, (ref, _) in target.datasets.items():
                if dataset_id in there:
                    continue
                if (state := verdicts.of(dataset_id)) is None:
                    self.counts[State.REMOVED] += 1
                else:
                    yield _difference(
                        Finding.EXTRA, ref, f"{state.value}; the source does not have it"
                    )

    def _verdicts(self, found: Found) -> _Verdicts:
        def select(message: Products) -> Selection:
            return self.replica.select(message, self.now, 0, self.withdrawn)

        return _Verdicts(found.products, select)


class _Verdicts:
    """What the rules say of datasets."""

    def __init__(self, products: WrittenProducts, select: Callable[[Products], Selection]) -> None:
        self._select = select
        self._message_of: dict[str, Products] = {}
        self._released: set[str] = set()
        for _, value in product_messages(products, uuid4(), datetime.now(UTC), _NO_LIMIT):
            message = Products.decode(value)
            self._message_of.update(dict.fromkeys(_ids(message.datasets), message))
            self._released |= {*_ids(self._select(message).release.datasets)}

    def of(self, dataset_id: UUID) -> State | None:
        """Return why a dataset is not released; `None` if it is."""
        if (text := str(dataset_id)) in self._released:
            return None
        message = self._message_of[text]
        files = [file for file in message.datasets if text in file["refs"]]
        paths = {file["path"] for file in files}
        of_path = [file for file in message.datasets if file["path"] in paths]
        selection = self._select(replace(message, datasets=of_path))
        return (
            State.WAITING
            if selection.waiting and not (selection.held or selection.excluded)
            else State.HELD
            if not selection.excluded
            else State.EXCLUDED
        )


def _ids(files: Iterable[FileDatasetFields]) -> Iterator[str]:
    return (dataset_id for file in files for dataset_id in file["refs"])


def _difference(finding: Finding, ref: DatasetRef, reason: str) -> Difference:
    return Difference(finding, str(ref.id), ref.datasetType.name, ref.run, reason)
