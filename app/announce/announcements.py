"""Announces a written window: the dataset list, the announcement, and chain updates.

They cover every valid dataset of the window on every delivery, whether it was inserted now or
earlier: an announcement may be sent twice, but must never be missing (rule
announced-on-every-delivery).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import NAMESPACE_OID, UUID, uuid5

from lsst.resources import ResourcePath

from app.butler.away import StoreError
from app.butler.files.threads import DaemonThreads
from app.butler.outcome import Written
from app.intake.ledger import Entry
from app.kafka.sending import OutputTopic, Sender
from app.telemetry import metrics
from models.batch_ingested import BatchIngested, dataset_list, dataset_list_name
from models.chains import ChainUpdate

__all__ = ["announce", "batch_id_of", "chain_updates_of", "write_dataset_list"]

#: Seconds that writing a dataset list may take.
LIST_TIMEOUT = 60.0

#: Lists are written one after another.  While one cannot be written, no further thread is taken.
_THREAD = DaemonThreads(1, "list")


def batch_id_of(entries: Iterable[Entry]) -> UUID:
    """Return the identity of a batch: a uuid5 of its topic-partition-offset ranges.

    The same events give the same identity.
    """
    ranges: dict[tuple[str, int], list[int]] = {}
    for entry in entries:
        ranges.setdefault(entry.partition, []).append(entry.offset)
    names = (
        f"{topic}-{partition}:{min(offsets)}-{max(offsets)}"
        for (topic, partition), offsets in sorted(ranges.items())
    )
    return uuid5(NAMESPACE_OID, ",".join(names))


async def announce(
    sender: Sender,
    directory: str | None,
    batch_id: UUID,
    written: Collection[Written],
    *,
    unobserved: bool = True,
) -> None:
    """Write the dataset list, then send the announcement and the chain updates.

    Parameters
    ----------
    sender : `Sender`
        Sends the messages, and waits until each has arrived.
    directory : `str` or `None`
        Where the list is written: any ``lsst.resources`` URI; `None`: only the chain updates are
        sent.
    batch_id : `uuid.UUID`
        The batch's identity.
    written : `~collections.abc.Collection` [`Written`]
        What was written for each event.
    unobserved : `bool`, optional
        Whether datasets without visit, exposure or group are announced.  If they are not, and there
        are no others, no list is written.

    Raises
    ------
    KafkaError, OSError, StoreError, botocore.exceptions.ClientError
        If something could not be written or sent; the call may be repeated.
    """
    if not unobserved:
        written = [_observed(outcome) for outcome in written]
    if directory is not None and (unobserved or any(each.dataset_ids for each in written)):
        announcement = await write_dataset_list(directory, batch_id, written)
        await sender.send(OutputTopic.BATCHES_INGESTED, value=announcement.encode())
    for update in chain_updates_of(batch_id, written):
        await sender.send(
            OutputTopic.CHAIN_UPDATES, key=update.chain.encode(), value=update.dumps()
        )
        metrics.CHAIN_UPDATES.inc()


def _observed(outcome: Written) -> Written:
    """Return an outcome without the datasets that have no visit, exposure or group."""
    left_out = {dataset_id.bytes for dataset_id in outcome.unobserved}
    ids = tuple(each for each in outcome.dataset_ids if each.bytes not in left_out)
    return replace(outcome, dataset_ids=ids)


async def write_dataset_list(
    directory: str, batch_id: UUID, written: Iterable[Written]
) -> BatchIngested:
    """Write the list of a batch's datasets, each once; return the announcement that names it.

    Parameters
    ----------
    directory : `str`
        Where the list is written: any ``lsst.resources`` URI.
    batch_id : `uuid.UUID`
        Identity of the batch; it is part of the name.
    written : `~collections.abc.Iterable` [`Written`]
        What was written for each event.

    Raises
    ------
    StoreError
        If writing takes too long.
    OSError, botocore.exceptions.ClientError
        If the list cannot be written.
    """
    name = dataset_list_name(batch_id, datetime.now(UTC))
    # By their bytes, since a sender can choose ids for which Python's hash is the same.
    dataset_ids = {
        dataset_id.bytes: dataset_id for outcome in written for dataset_id in outcome.dataset_ids
    }
    uri = ResourcePath(directory, forceDirectory=True).join(name)
    await _write(uri, dataset_list(batch_id, dataset_ids.values()))
    return BatchIngested(batch_id=str(batch_id), batch_file=name)


async def _write(uri: ResourcePath, content: bytes) -> None:
    """Write a file within a timeout (rule stuck-workers-end).

    If an earlier attempt still has the thread, this waits for it, and the step's own limit applies.
    """
    await asyncio.wrap_future(_THREAD.first_free())
    writing = asyncio.wrap_future(_THREAD.submit(uri.write, content))
    done, _ = await asyncio.wait([writing], timeout=LIST_TIMEOUT)
    if not done:
        raise StoreError(
            f"OUTPUT_DATASET_LIST_DIRECTORY did not respond: {uri} was not written within "
            f"{LIST_TIMEOUT:g} s"
        )
    await writing


def chain_updates_of(batch_id: UUID, written: Iterable[Written]) -> list[ChainUpdate]:
    """Return what a batch added to each (chain, run)."""
    now = datetime.now(UTC).timestamp()
    datasets: Counter[tuple[str, str]] = Counter()
    events: Counter[tuple[str, str]] = Counter()
    for outcome in written:
        for chain, run in outcome.chains:
            datasets[chain, run] += outcome.runs.get(run, 0)
            events[chain, run] += 1
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
