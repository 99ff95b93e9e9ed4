"""Telling downstream what was written: the dataset-list file, then the event that names it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, UUID, uuid5

from lsst.resources import ResourcePath

from app.intake.ledger import Entry
from models.batch_ingested import BatchIngested, dataset_list, dataset_list_name
from models.chains import ChainUpdate

if TYPE_CHECKING:
    from app.butler.outcome import Written

__all__ = ["batch_id_of", "chain_updates_of", "write_dataset_list"]


def batch_id_of(entries: Iterable[Entry]) -> UUID:
    """Return the identity of a batch: a uuid5 of its topic-partition-offset ranges."""
    ranges: dict[tuple[str, int], list[int]] = {}
    for entry in entries:
        ranges.setdefault(entry.partition, []).append(entry.offset)
    names = (
        f"{topic}-{partition}:{min(offsets)}-{max(offsets)}"
        for (topic, partition), offsets in sorted(ranges.items())
    )
    return uuid5(NAMESPACE_OID, ",".join(names))


async def write_dataset_list(
    directory: str, batch_id: UUID, written: Sequence[Written]
) -> BatchIngested:
    """Write the list of a batch's datasets.

    Every valid dataset of the window is listed, on every delivery, whether it was inserted now or
    was there already (rule announced-on-every-delivery).

    Parameters
    ----------
    directory : `str`
        Any ``lsst.resources`` URI.

    Returns
    -------
    announcement : `BatchIngested`
        What is to be sent once the file is there.
    """
    name = dataset_list_name(batch_id, datetime.now(UTC))
    # A dataset of several events of the window is listed once.
    dataset_ids = dict.fromkeys(
        dataset_id for outcome in written for dataset_id in outcome.dataset_ids
    )
    uri = ResourcePath(directory, forceDirectory=True).join(name)
    await asyncio.to_thread(uri.write, dataset_list(batch_id, dataset_ids))
    return BatchIngested(batch_id=str(batch_id), batch_file=name)


def chain_updates_of(batch_id: UUID, written: Sequence[Written]) -> list[ChainUpdate]:
    """Return what a batch brought to each (chain, run)."""
    now = datetime.now(UTC).timestamp()
    datasets: Counter[tuple[str, str]] = Counter()
    events: Counter[tuple[str, str]] = Counter()
    for outcome in written:
        for pair in outcome.chains:
            datasets[pair] += outcome.runs.get(pair[1], 0)
            events[pair] += 1
    return [
        ChainUpdate(
            chain=chain,
            run=run,
            datasets=datasets[chain, run],
            events=events[chain, run],
            batch_id=str(batch_id),
            written_at=now,
        )
        for chain, run in sorted(events)
    ]
