"""A source, and an empty repository that is filled from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from lsst.daf.butler import Butler, Config

from app.butler.private.registry import engine_of
from tests.support.repositories import Repository


@pytest.fixture
def target(
    request: pytest.FixtureRequest, repository: Repository, tmp_path: Path
) -> Iterator[Butler]:
    """A repository without anything, on the same kind of database as the source."""
    config = Config()
    if engine_of(repository.reader).dialect.name == "postgresql":
        config["registry", "db"] = request.getfixturevalue("postgresql_url")
    Butler.makeRepo(str(tmp_path / "target"), config=config)
    with closing(Butler.from_config(str(tmp_path / "target"), writeable=True)) as butler:
        yield butler
