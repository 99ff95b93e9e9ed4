"""Repositories for tests of the Butler write: prepared once, then copied."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy
from lsst.daf.butler import Butler, MissingCollectionError

from app.butler.events.limits import EventLimits
from app.butler.outcome import Rejection, WriteReport, Written
from app.butler.policy import WritePolicy
from app.butler.private.registry import engine_of
from app.butler.repository.connection import open_butler
from app.butler.writer import ButlerWriter
from models.prompt_output import PromptOutput
from tests.support.events import RUN, Night, encode

__all__ = ["Repository", "decoded", "rejection", "written"]


@dataclass
class Repository:
    """A repository that only one test uses.

    Attributes
    ----------
    root : `pathlib.Path`
        Its folder, and the root of its datastore.
    """

    root: Path
    _butlers: list[Butler] = field(default_factory=list)

    def copy(self, root: Path, database: tuple[str, str] | None = None) -> Repository:
        """Return a copy of the repository.

        Parameters
        ----------
        root : `pathlib.Path`
            The copy's folder.
        database : `tuple` [`str`, `str`], optional
            URLs of its PostgreSQL database and of a copy of the database; absent: SQLite.
        """
        shutil.copytree(self.root, root)
        if database:
            config = root / "butler.yaml"
            config.write_text(config.read_text().replace(*database))
        return Repository(root)

    def butler(self, policy: WritePolicy | None = None) -> Butler:
        """Return a new Butler, with empty caches."""
        butler = open_butler(str(self.root), policy or WritePolicy())
        self._butlers.append(butler)
        return butler

    def writer(self, limits: EventLimits | None = None, **policy: Any) -> ButlerWriter:
        """Return a writer with a Butler of its own; it hardly waits for missing files."""
        write_policy = WritePolicy(**({"missing_file_wait": 0.001} | policy))
        return ButlerWriter(self.butler(write_policy), write_policy, limits)

    @cached_property
    def reader(self) -> Butler:
        """A Butler for queries."""
        return self.butler()

    def night(self, run: str = RUN) -> Night:
        """Return a builder of events whose artifacts are in this repository."""
        return Night(self.root, run, universe=self.reader.dimensions)

    def stored(self, run: str = RUN) -> Counter[UUID]:
        """Return how often each dataset is in a run, found by queries of the Butler."""
        try:
            found = self.reader.query_all_datasets(run, find_first=False, limit=None)
        except MissingCollectionError:
            return Counter()
        return Counter(ref.id for ref in found)

    def sql(self, statement: sqlalchemy.Executable | str) -> list[Any]:
        """Execute a statement without the Butler; return the first column of its result."""
        if isinstance(statement, str):
            statement = sqlalchemy.text(statement)
        with engine_of(self.reader).begin() as connection:
            result = connection.execute(statement)
            return list(result.scalars()) if result.returns_rows else []

    def close(self) -> None:
        """Close all Butlers of the repository."""
        while self._butlers:
            self._butlers.pop().close()


def decoded(*events: dict[str, Any]) -> list[PromptOutput]:
    """Return events as the service receives them."""
    return [PromptOutput.decode(encode(event)) for event in events]


def rejection(report: WriteReport[int], index: int = 0) -> Rejection:
    """Return why an event was rejected."""
    outcome = report.outcomes[index]
    assert isinstance(outcome, Rejection), f"event {index} was not rejected"
    return outcome


def written(report: WriteReport[int], index: int = 0) -> Written:
    """Return what was written for an event."""
    outcome = report.outcomes[index]
    assert isinstance(outcome, Written), f"event {index}: {outcome}"
    return outcome
