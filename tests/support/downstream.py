"""A downstream repository for a test, and workers that fill it from a deployment's product log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import Any
from uuid import uuid4

from lsst.daf.butler import Butler, Config

from app.butler.events.parsed import ParsedEvent
from app.butler.outcome import Written
from app.butler.policy import WritePolicy
from app.butler.private.registry import engine_of
from app.butler.products.messages import product_messages
from app.butler.repository.chains import ChainKeeper
from app.butler.repository.connection import open_butler
from app.butler.writer import ButlerWriter
from models.product import Products
from models.prompt_output import PromptOutput
from testbed.cluster import Message
from testbed.tables import Tables, tables_of
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import encode

__all__ = ["Downstream", "log_events", "selected"]


@dataclass
class Downstream:
    """An empty repository, and the environment of the workers that fill it.

    Attributes
    ----------
    source : `Deployment`
        Has the product log.
    root : `pathlib.Path`
        Root of the repository; its last part is the target's name.
    database : `str`, optional
        URL of its PostgreSQL database; absent: SQLite.
    settings : `dict`
        Further environment variables of the workers.
    """

    source: Deployment
    root: Path
    database: str | None = None
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seed = Config()
        if self.database:
            seed["registry", "db"] = self.database
        Butler.makeRepo(str(self.root), config=seed)

    @property
    def group(self) -> str:
        """The consumer group."""
        return f"{self.source.group}-replicate-{self.root.name}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a worker: nothing of the source but its log and files."""
        return {
            "BUTLER_WRITER_ROLE": "replicate",
            "BUTLER_REPOSITORY": str(self.root),
            "KAFKA_CLUSTER": self.source.cluster.bootstrap,
            "KAFKA_TOPIC": self.source.topic,
            "BUTLER_WRITER_SOURCE_ROOT": str(self.source.root),
            "BUTLER_WRITER_KAFKA_GROUP": self.source.group,
            "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "8",
            **self.settings,
        }

    @property
    def log(self) -> str:
        """The topic of the product log that the repository is filled from."""
        return f"{self.environment['KAFKA_TOPIC']}-products"

    def worker(self, **more: str) -> Worker:
        """Return a worker that is not started yet (use it in a ``with`` statement)."""
        return Worker({**self.environment, **more})

    def committed(self) -> int:
        """Return how many messages of the product log the group has finished."""
        offsets = self.source.cluster.committed(self.group, self.log)
        return sum(max(offset, 0) for offset in offsets.values())

    def wait_done(self, timeout: float = 60) -> None:
        """Wait until every message of the product log is finished."""
        end = sum(self.source.cluster.end_offsets(self.log).values())
        wait_until(
            lambda: self.committed() >= end,
            timeout,
            lambda: f"{self.committed()} of {end} messages finished",
        )

    def dead_letters(self) -> list[Message]:
        """Return the messages of the role's dead-letter topic."""
        topic = f"{self.group}-dead-letters"
        if topic not in self.source.cluster.topics():
            return []
        return self.source.cluster.consume(topic)

    def butler(self) -> Butler:
        """Return a new Butler, with empty caches."""
        return Butler.from_config(str(self.root))

    def tables(self) -> Tables:
        """Return the rows of all tables."""
        return tables_of(engine_of(self.butler()))


def log_events(deployment: Deployment, *windows: Sequence[dict[str, Any]]) -> list[Products]:
    """Write events into the source as a worker does, and log them; return the log's messages."""
    policy = WritePolicy()
    butler = open_butler(str(deployment.root), policy)
    writer, chains = ButlerWriter(butler, policy), ChainKeeper(butler)
    topic = deployment.product_topic
    if topic not in deployment.cluster.topics():
        deployment.cluster.create_topic(topic, 2, **{"max.message.bytes": 11 * 2**20})
    logged = []
    for events in windows:
        given = dict(enumerate(PromptOutput.decode(encode(event)) for event in events))
        prepared = writer.prepare(given, is_current=lambda: True)
        report = writer.commit(prepared, is_current=lambda: True)
        outcomes = [each for each in report.outcomes.values() if isinstance(each, Written)]
        assert len(outcomes) == len(events), report
        chains.ensure({pair for outcome in outcomes for pair in outcome.chains})
        parsed = [event for event in prepared.values() if isinstance(event, ParsedEvent)]
        sent = product_messages(
            writer.products(writer.serialize_products(parsed)),
            uuid4(),
            datetime.now(UTC),
            10 * 2**20,
        )
        for run, value in sent:
            deployment.cluster.produce(topic, value, key=run.encode())
            logged.append(Products.decode(value))
    butler.close()
    return logged


def selected(messages: Iterable[Products], *patterns: str) -> list[Products]:
    """Return messages with only the datasets of some types."""

    def matches(name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in patterns)

    def is_chosen(file: dict[str, Any]) -> bool:
        return all(matches(ref["dataset_type_name"]) for ref in file["refs"].values())

    return [
        replace(
            message,
            datasets=[file for file in message.datasets if is_chosen(file)],
            dataset_types=[kind for kind in message.dataset_types if matches(kind["name"])],
        )
        for message in messages
    ]
