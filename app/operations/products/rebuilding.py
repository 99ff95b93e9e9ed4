"""Writes the product log anew from what a repository has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from app.announce.product_log import ProductLog
from app.butler.events.parsed import ParsedEvent
from app.butler.paths import is_own_file
from app.butler.private.ingest_dates import Period
from app.butler.products.stored_products import StoredProducts
from app.errors import OperatorError
from app.kafka.connection import KafkaConnection
from app.kafka.producer import open_producer
from app.kafka.sending import OutputTopic, ProducerSender, Sender
from app.operations.products.selected_runs import SelectedRun
from app.settings import MIB, KafkaSettings

__all__ = ["Rebuilt", "log_sender", "rebuild"]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was written to the product log of a run.

    Attributes
    ----------
    run : `str`
        The run.
    datasets, messages, bytes : `int`
        How many datasets, in how many messages, of which size.
    left_out : `int`
        How many artifacts the log cannot describe: they are outside of the datastore, inside of
        another file, or parts of a composite.
    """

    run: str
    datasets: int = 0
    messages: int = 0
    bytes: int = 0
    left_out: int = 0


@asynccontextmanager
async def log_sender(
    connection: KafkaConnection, settings: KafkaSettings
) -> AsyncIterator[tuple[Sender, ProductLog]]:
    """Run a producer of the product log.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to connect to.
    settings : `~app.settings.KafkaSettings`
        Name of the topic, and the largest message.

    Raises
    ------
    OperatorError
        If the log is off.
    KafkaError
        If no broker can be reached, or the login is refused.
    """
    if (topic := settings.product_topic) is None:
        raise OperatorError(
            "the product log is off: set BUTLER_WRITER_PRODUCTS_TOPIC to the name of its topic"
        )
    limit = settings.max_message_bytes
    async with open_producer(connection, topic, limit + MIB) as producer:
        yield ProducerSender({OutputTopic.PRODUCTS: producer}), ProductLog(limit)


async def rebuild(
    stored: StoredProducts,
    run: SelectedRun,
    period: Period,
    log: ProductLog,
    sender: Sender | None,
) -> Rebuilt:
    """Write messages about the datasets of a run that came into a repository in a period.

    Parameters
    ----------
    stored : `StoredProducts`
        The repository's datasets.
    run : `SelectedRun`
        The run.
    period : `Period`
        When they came.
    log : `ProductLog`
        Makes the messages.
    sender : `Sender` or `None`
        Sends them; `None`: nothing is sent.

    Raises
    ------
    KafkaError
        If a message was not delivered; all may be sent again.
    """
    done = Rebuilt(run.name)
    for event in stored.of_run(run.name, run.chains, period):
        chosen = replace(
            event, artifacts=[each for each in event.artifacts if is_own_file(each.path)]
        )
        left_out = len(event.artifacts) - len(chosen.artifacts)
        messages = await _send(stored, chosen, log, sender)
        done = replace(
            done,
            datasets=done.datasets + sum(1 for _ in chosen.refs),
            messages=done.messages + len(messages),
            bytes=done.bytes + sum(len(value) for _, value in messages),
            left_out=done.left_out + left_out,
        )
    return replace(done, left_out=done.left_out + stored.disassembled[run.name])


async def _send(
    stored: StoredProducts, event: ParsedEvent, log: ProductLog, sender: Sender | None
) -> list[tuple[str, bytes]]:
    if not event.artifacts:
        return []
    products, batch_id = stored.products(event), uuid4()
    while True:
        messages = log.messages(products, batch_id, datetime.now(UTC))
        if sender is None or await log.send(sender, messages):
            return messages
