"""Checks in the Butler, not in the service, that every dataset is there exactly once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from lsst.daf.butler import Butler, CollectionType, MissingCollectionError

from simulator.night import Night, Output

__all__ = ["Verdict", "check"]

#: Number of datasets that are read back.
_SAMPLE = 50


@dataclass(frozen=True)
class Verdict:
    """What the Butler contains of a night.

    Attributes
    ----------
    missing, twice, unreadable : `int`
        Number of datasets that are not there, that are there more than once or were never sent,
        and that cannot be read back as they were written.
    lost_runs : `list` [`str`]
        Runs that are not in the night's chain.
    different_records : `int`
        Number of dimension records of visits that only one of repository and source has.
    """

    missing: int
    twice: int
    unreadable: int
    lost_runs: list[str]
    different_records: int = 0

    @property
    def complaints(self) -> list[str]:
        """What is wrong, one sentence each."""
        said = {
            f"{self.missing} datasets that were sent are missing": self.missing,
            f"{self.twice} datasets are there twice, or were never sent": self.twice,
            f"{self.unreadable} datasets cannot be read back": self.unreadable,
            f"the chain lacks the runs {', '.join(self.lost_runs)}": len(self.lost_runs),
            f"{self.different_records} dimension records are not the source's": (
                self.different_records
            ),
        }
        return [words for words, count in said.items() if count]


def check(
    root: Path, night: Night, sent: Mapping[UUID, Output], *, source: Path | None = None
) -> Verdict:
    """Compare a repository with what was sent to it.

    Parameters
    ----------
    root : `pathlib.Path`
        The repository.
    night : `Night`
        Gives the chain's name, and the dataset types to look for.
    sent : `~collections.abc.Mapping` [`uuid.UUID`, `Output`]
        Every dataset that was sent in a valid event, and that the repository should have.
    source : `pathlib.Path`, optional
        For a downstream repository: the one that it gets its dimension records from.
    """
    butler = Butler.from_config(str(root))
    try:
        info = butler.collections.get_info(night.chain)
        children = info.children if info.type is CollectionType.CHAINED else ()
    except MissingCollectionError:
        children = ()
    existing = set(butler.collections.query("*"))
    registered = {found.name for found in butler.registry.queryDatasetTypes()}
    runs = {output.ref.run for output in sent.values()}
    found = [
        ref
        for dataset_type in night.dataset_types
        if dataset_type.name in registered
        for ref in butler.query_datasets(
            dataset_type, sorted(runs & existing), find_first=False, explain=False, limit=None
        )
    ]
    counts = Counter((ref.datasetType.name, ref.run, ref.dataId) for ref in found)
    ids = {ref.id for ref in found}
    readable = sorted(ids & sent.keys())
    sample = random.Random(night.seed).sample(readable, min(_SAMPLE, len(readable)))
    return Verdict(
        missing=len(sent.keys() - ids),
        twice=sum(counts.values()) - len(counts) + len(ids - sent.keys()),
        unreadable=sum(not _reads_back(butler, sent[dataset_id]) for dataset_id in sample),
        lost_runs=sorted(runs - set(children)),
        different_records=0 if source is None else _differences(source, butler, night),
    )


def _differences(source: Path, butler: Butler, night: Night) -> int:
    """Return how many of the dimension records that pods export only one repository has."""
    _, pod = next(night.pods())
    ours, theirs = (
        {
            record
            for element in pod.records
            for record in each.query_dimension_records(element, explain=False, limit=None)
        }
        for each in (butler, Butler.from_config(str(source)))
    )
    return len(ours ^ theirs)


def _reads_back(butler: Butler, output: Output) -> bool:
    try:
        return bool(butler.get(output.ref) == output.content)
    except Exception:  # noqa: BLE001 - whatever it is, it cannot be read
        return False
