"""Release rules: which datasets a downstream repository gets, and after which embargo.

Pure: no I/O.  `app.downstream.rules_file` reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate

__all__ = ["DatasetRule", "Globs", "RecordRule", "Rules"]


class Globs:
    """Patterns of names, such as ``*_image``; case counts, and ``*`` matches ``/`` too.

    Parameters
    ----------
    patterns : `~collections.abc.Iterable` [`str`]
        The patterns; none of them: every name matches.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self.patterns = tuple(patterns)
        self._expressions = [re.compile(translate(pattern)) for pattern in self.patterns]

    @property
    def match_all(self) -> bool:
        """Whether every name matches."""
        return not self.patterns or "*" in self.patterns

    def match(self, name: str) -> bool:
        """Return whether a name matches."""
        return self.match_all or any(each.match(name) for each in self._expressions)


@dataclass(frozen=True, slots=True)
class DatasetRule:
    """A rule for datasets.

    Attributes
    ----------
    line : `int`
        Its line in the file, from 1.
    embargo : `int` or `None`
        Nanoseconds from the end of the observation to the release; `None`: never released.
    dataset_types, runs, origins : `Globs`
        Names that a dataset must have.
    is_without_sky : `bool`
        Whether it is for datasets of exposures that could not see the sky, and for no others.
    """

    line: int
    embargo: int | None
    dataset_types: Globs
    runs: Globs
    origins: Globs
    is_without_sky: bool = False

    @property
    def match_all(self) -> bool:
        """Whether every dataset matches."""
        globs = (self.dataset_types, self.runs, self.origins)
        return not self.is_without_sky and all(each.match_all for each in globs)

    def match(self, dataset_type: str, run: str, origin: str, *, sees_sky: bool) -> bool:
        """Return whether a dataset matches."""
        return (
            not (self.is_without_sky and sees_sky)
            and self.dataset_types.match(dataset_type)
            and self.runs.match(run)
            and self.origins.match(origin)
        )


@dataclass(frozen=True, slots=True)
class RecordRule:
    """A rule for dimension records: it holds them, and every dataset that needs one of them.

    Attributes
    ----------
    line : `int`
        Its line in the file, from 1.
    embargo : `int`
        Nanoseconds from the end of the record's observation to the release.
    elements : `frozenset` [`str`]
        The dimension elements of the records.
    """

    line: int
    embargo: int
    elements: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """The release rules of a downstream repository; the first one that matches counts.

    Attributes
    ----------
    for_datasets : `tuple` [`DatasetRule`]
        The rules for datasets, in the order of the file.
    for_records : `tuple` [`RecordRule`]
        The rules for dimension records, in the order of the file.
    """

    for_datasets: tuple[DatasetRule, ...]
    for_records: tuple[RecordRule, ...] = ()

    @property
    def longest_embargo(self) -> int:
        """The longest embargo of all rules, in nanoseconds."""
        embargoes = [rule.embargo or 0 for rule in self.for_datasets]
        return max(embargoes + [rule.embargo for rule in self.for_records])

    def of_dataset(
        self, dataset_type: str, run: str, origin: str, *, sees_sky: bool
    ) -> DatasetRule | None:
        """Return the rule of a dataset; `None`: there is none, and it is not released.

        Parameters
        ----------
        dataset_type, run, origin : `str`
            The names of its dataset type and run, and what wrote it.
        sees_sky : `bool`
            Whether its exposures could see the sky, or it is not known that they could not.
        """
        for rule in self.for_datasets:
            if rule.match(dataset_type, run, origin, sees_sky=sees_sky):
                return rule
        return None

    def embargo_of_records(self, element: str) -> int:
        """Return the embargo of a dimension element's records; 0 if they have none."""
        for rule in self.for_records:
            if element in rule.elements:
                return rule.embargo
        return 0
