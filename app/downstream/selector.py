"""Select from the messages of the product log by rules and time.

The same message, rules and time give the same selection.  So nothing about a dataset has to be kept
while it waits: when it is due, its message is read again, and selected from with a later time.

Pure: no I/O, no clock.  All times are nanoseconds of Unix time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lsst.daf.butler import DimensionUniverse

from app.downstream.dimension_records import DimensionRecords, Elements, RecordKey
from app.downstream.embargo import End, HoldReason, Observations, latest
from app.downstream.rules import DatasetRule, Rules
from app.downstream.selection import Exclusion, Message, Release, Selection
from models.errors import InvalidEventError
from models.fields import DatasetRefFields, FileDatasetFields

__all__ = ["Selector"]

#: When a dataset without an embargo is due.
_AT_ONCE = 0

_Verdict: TypeAlias = int | HoldReason | Exclusion
"""When a dataset is due, or why it is not released."""


class Selector:
    """Selects from messages of the product log.

    Parameters
    ----------
    rules : `Rules`
        The release rules.
    universe : `lsst.daf.butler.DimensionUniverse`
        The dimensions of the downstream repository.

    Attributes
    ----------
    rules : `Rules`
        The release rules.
    """

    def __init__(self, rules: Rules, universe: DimensionUniverse) -> None:
        self.rules = rules
        self._universe = universe
        self._elements = Elements(universe)

    def select(self, message: Message, now: int, since: int = _AT_ONCE) -> Selection:
        """Return what becomes of the datasets of a message.

        An artifact is released as a whole: when the last one of its datasets is due, and never if
        one of them is never released.

        Parameters
        ----------
        message : `Message`
            The message.
        now : `int`
            The time.
        since : `int`, optional
            What was due before this time is left out of the release: it was released before.

        Raises
        ------
        InvalidEventError
            If it does not have the shape of a message of the product log.
        """
        try:
            records = DimensionRecords(message.dimension_records, self._elements)
            observations = Observations(records, self._universe)
            verdicts = _Verdicts(message.origin, self.rules, self._elements, records, observations)
            return _select(message, verdicts, now, since)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise InvalidEventError("not the shape of a message of the product log") from exc


@dataclass(frozen=True, slots=True, eq=False)
class _DataId:
    """What all datasets of a message with the same data ID have in common.

    Attributes
    ----------
    end : `End`
        When its observation ended.
    sees_sky : `bool`
        Whether its exposures could see the sky.
    needed : `set` [`RecordKey`]
        The dimension records that it needs.
    records_due : `End`
        When all of these are due.
    """

    end: End
    sees_sky: bool
    needed: set[RecordKey]
    records_due: End


@dataclass(slots=True)
class _Verdicts:
    """The verdicts on the datasets of a message; what they have in common is found out once."""

    origin: str
    rules: Rules
    elements: Elements
    records: DimensionRecords
    observations: Observations
    _data_ids: dict[tuple[Any, ...], _DataId] = field(default_factory=dict)
    _matching: dict[tuple[str, str, bool], DatasetRule | None] = field(default_factory=dict)

    def of_artifact(self, artifact: FileDatasetFields) -> _Verdict:
        """Return the strictest verdict on the datasets of an artifact."""
        refs = artifact["refs"].values()
        if not refs:
            raise ValueError("an artifact contains no dataset")
        verdicts = [self.of(ref) for ref in refs]
        if artifact.get("is_part"):
            verdicts.append(HoldReason.DIVIDED_ARTIFACT)
        return _strictest(verdicts)

    def of(self, ref: DatasetRefFields) -> _Verdict:
        """Return the verdict on a dataset."""
        data_id = self.data_id(ref["data_id"])
        rule = self._rule(ref["dataset_type_name"], ref["run"], data_id.sees_sky)
        if rule is None:
            return Exclusion.NO_RULE
        if rule.embargo is None:
            return Exclusion.BY_RULE
        dues = (_due(data_id.end, rule.embargo), data_id.records_due)
        return latest(dues, if_none=_AT_ONCE)

    def data_id(self, given: Mapping[str, Any]) -> _DataId:
        """Return what is known about a data ID."""
        key = tuple(given.items())
        known = self._data_ids.get(key)
        if known is None:
            known = self._data_ids[key] = self._describe(given)
        return known

    def _describe(self, given: Mapping[str, Any]) -> _DataId:
        data_id = self.elements.data_id(given)
        if data_id is None:
            unknown = HoldReason.UNKNOWN_DIMENSION
            return _DataId(unknown, sees_sky=True, needed=set(), records_due=unknown)
        needed = self.records.needed_by(data_id)
        return _DataId(
            self.observations.end(data_id),
            sees_sky=self.observations.sees_sky(data_id),
            needed=needed,
            records_due=self._records_due(needed),
        )

    def _records_due(self, needed: set[RecordKey]) -> End:
        dues = [
            _due(self.observations.end_of_record(key), embargo)
            for key in needed
            if (embargo := self.rules.embargo_of_records(key[0]))
        ]
        return latest(dues, if_none=_AT_ONCE)

    def _rule(self, dataset_type: str, run: str, sees_sky: bool) -> DatasetRule | None:
        key = (dataset_type, run, sees_sky)
        if key not in self._matching:
            self._matching[key] = self.rules.of_dataset(
                dataset_type, run, self.origin, sees_sky=sees_sky
            )
        return self._matching[key]


def _select(message: Message, verdicts: _Verdicts, now: int, since: int) -> Selection:
    of_paths: dict[str, _Verdict] = {}
    for artifact in message.datasets:
        path, verdict = artifact["path"], verdicts.of_artifact(artifact)
        # An artifact with many datasets may be divided into several members of the message.
        of_paths[path] = _strictest((of_paths.get(path, _AT_ONCE), verdict))
    released: list[FileDatasetFields] = []
    counts: dict[_Verdict, Counter[str]] = defaultdict(Counter)
    for artifact in message.datasets:
        verdict = of_paths[artifact["path"]]
        if isinstance(verdict, int) and verdict <= now:
            if verdict >= since:
                released.append(artifact)
            continue
        for ref in artifact["refs"].values():
            own = verdicts.of(ref)
            reason = own if isinstance(own, Exclusion) else verdict
            counts[reason][ref["dataset_type_name"]] += 1
    return Selection(
        release=_release(message, verdicts, released),
        waiting={due: each for due, each in counts.items() if isinstance(due, int)},
        held={why: each for why, each in counts.items() if isinstance(why, HoldReason)},
        excluded={why: each for why, each in counts.items() if isinstance(why, Exclusion)},
    )


def _release(message: Message, verdicts: _Verdicts, artifacts: list[FileDatasetFields]) -> Release:
    if not artifacts:
        return Release()
    refs = [ref for artifact in artifacts for ref in artifact["refs"].values()]
    dataset_types = {ref["dataset_type_name"] for ref in refs}
    data_ids = {verdicts.data_id(ref["data_id"]) for ref in refs}
    return Release(
        datasets=artifacts,
        dimension_records=verdicts.records.select(set().union(*(each.needed for each in data_ids))),
        dataset_types=[
            given for given in message.dataset_types or [] if given["name"] in dataset_types
        ],
        chains=message.chains,
    )


def _due(end: End, embargo: int) -> End:
    """Return when something is due; without an embargo, its time does not matter."""
    if embargo == 0:
        return _AT_ONCE
    return end if isinstance(end, HoldReason) else end + embargo


def _strictest(verdicts: Sequence[_Verdict]) -> _Verdict:
    """Return the verdict that keeps something back for longest."""
    if len(verdicts) == 1:
        return verdicts[0]
    ends = []
    for verdict in verdicts:
        if isinstance(verdict, Exclusion):
            return verdict
        ends.append(verdict)
    return latest(ends, if_none=_AT_ONCE)
