"""A downstream repository for a test, and workers that fill it from a deployment's product log."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lsst.daf.butler import Butler, Config

from app.butler.private.registry import engine_of
from testbed.cluster import Message
from testbed.tables import Tables, tables_of
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment

__all__ = ["Downstream"]


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

    def worker(self, **more: str) -> Worker:
        """Return a worker that is not started yet (use it in a ``with`` statement)."""
        return Worker({**self.environment, **more})

    def committed(self) -> int:
        """Return how many messages of the product log the group has finished."""
        offsets = self.source.cluster.committed(self.group, self.source.product_topic)
        return sum(max(offset, 0) for offset in offsets.values())

    def wait_done(self, timeout: float = 60) -> None:
        """Wait until every message of the product log is finished."""
        end = sum(self.source.cluster.end_offsets(self.source.product_topic).values())
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
