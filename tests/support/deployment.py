"""A deployment of the service for a test: topics, a repository, and workers started on them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from models.product import Products
from testbed.cluster import Cluster, Message
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.events import encode, make_repository

__all__ = ["Deployment"]


@dataclass
class Deployment:
    """Topics, a repository, and the environment of its workers.

    Attributes
    ----------
    cluster : `Cluster`
        The broker.
    topic : `str`
        The input topic; the names of all others follow from it.
    folder : `pathlib.Path`
        Holds the repository and the dataset lists.
    database : `str`, optional
        URL of the repository's PostgreSQL database; absent: SQLite.
    universe : `str`, optional
        The repository's dimension universe; absent: the current one.
    partitions : `int`
        Number of partitions of the input topic.
    settings : `dict`
        Further environment variables of the workers.
    """

    cluster: Cluster
    topic: str
    folder: Path
    database: str | None = None
    universe: str | None = None
    partitions: int = 1
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = self.folder / "repository"
        self.lists = self.folder / "lists"
        self.lists.mkdir()
        self.butler = make_repository(self.root, database=self.database, universe=self.universe)
        self.make_topics()

    def make_topics(self) -> None:
        """Make the topics that are made before a worker starts."""
        self.cluster.create_topic(self.topic, self.partitions, **{"max.message.bytes": 11 * 2**20})
        self.cluster.create_topic(self.output_topic)

    @property
    def output_topic(self) -> str:
        """The topic of the announcements."""
        return f"{self.topic}-ingested"

    @property
    def dead_letter_topic(self) -> str:
        """The dead-letter topic."""
        return f"{self.topic}-dead-letters"

    @property
    def product_topic(self) -> str:
        """The topic of the product log."""
        return f"{self.topic}-products"

    @property
    def group(self) -> str:
        """The consumer group."""
        return self.settings.get("BUTLER_WRITER_KAFKA_GROUP", f"writer-{self.topic}")

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a worker."""
        return {
            "BUTLER_REPOSITORY": str(self.root),
            "KAFKA_CLUSTER": self.cluster.bootstrap,
            "KAFKA_TOPIC": self.topic,
            "KAFKA_OUTPUT_TOPIC": self.output_topic,
            "OUTPUT_DATASET_LIST_DIRECTORY": str(self.lists),
            "BUTLER_WRITER_KAFKA_GROUP": self.group,
            # The embedded broker starts a group after half of it, and any broker waits for it
            # before it gives the partitions of a worker that ended itself to the next one.
            "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "8",
            **self.settings,
        }

    def worker(self, **more: str) -> Worker:
        """Return a worker that is not started yet (use it in a ``with`` statement)."""
        return Worker({**self.environment, **more})

    def send(self, *events: dict[str, Any], partition: int | None = None) -> list[tuple[int, int]]:
        """Send events as pods do; return the partition and offset of each."""
        return [
            self.cluster.produce(
                self.topic,
                encode(event),
                partition=n % self.partitions if partition is None else partition,
            )
            for n, event in enumerate(events)
        ]

    def committed(self) -> int:
        """Return how many events of the input topic the group has finished."""
        return sum(max(n, 0) for n in self.cluster.committed(self.group, self.topic).values())

    def commit(self, offset: int) -> None:
        """Set the committed offset of each partition; the group must have no members."""
        self.cluster.commit(self.group, self.topic, offset)

    def delete_below(self, offset: int) -> None:
        """Delete the messages of partition 0 below an offset, as retention does."""
        deleted = TopicPartition(self.topic, 0, offset)
        answers = self.cluster.admin.delete_records([deleted])
        answers[TopicPartition(self.topic, 0)].result(20)

    def wait_done(self, timeout: float = 60) -> None:
        """Wait until every event of the input topic is finished."""
        end = sum(self.cluster.end_offsets(self.topic).values())
        wait_until(
            lambda: self.committed() >= end,
            timeout,
            lambda: f"{self.committed()} of {end} events finished",
        )

    def announcements(self) -> list[Message]:
        """Return the messages of the output topic."""
        return self.cluster.consume(self.output_topic)

    def dead_letters(self) -> list[Message]:
        """Return the messages of the dead-letter topic."""
        if self.dead_letter_topic not in self.cluster.topics():
            return []
        return self.cluster.consume(self.dead_letter_topic)

    def products(self) -> list[Products]:
        """Return the messages of the product log, in the order in which they were sent."""
        if self.product_topic not in self.cluster.topics():
            return []
        messages = self.cluster.consume(self.product_topic)
        messages.sort(key=lambda message: (message.timestamp_ms, message.offset))
        decoded = [Products.decode(message.value) for message in messages]
        assert [message.key for message in messages] == [each.run.encode() for each in decoded]
        return decoded

    def logged_ids(self) -> list[str]:
        """Return the dataset ids of the product log, as often as they are in it."""
        return [
            dataset_id
            for products in self.products()
            for file in products.datasets
            for dataset_id in file["refs"]
        ]

    def announced_ids(self) -> list[str]:
        """Return the dataset ids of every announced list, as often as they are announced."""
        files = [json.loads(m.value or b"")["batch_file"] for m in self.announcements()]
        folder = ResourcePath(
            self.environment["OUTPUT_DATASET_LIST_DIRECTORY"], forceDirectory=True
        )
        lists = [json.loads(folder.join(name).read()) for name in files]
        return [dataset_id for batch in lists for dataset_id in batch["datasets"]]

    def fresh_butler(self, collections: Iterable[str] = ()) -> Butler:
        """Return a new Butler, with empty caches."""
        return Butler.from_config(str(self.root), collections=list(collections) or None)
