"""Fixtures of Butler repositories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from lsst.daf.butler import Butler, Config

from app.butler.private.registry import engine_of
from testbed.postgresql import PostgreSQL
from tests.support.events import make_repository
from tests.support.pods import LocalPod
from tests.support.repositories import Repository

_numbers = count(1)


@pytest.fixture(scope="session")
def prepared_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    root = tmp_path_factory.mktemp("prepared") / "repository"
    make_repository(root).close()
    return Repository(root)


@pytest.fixture(scope="session")
def prepared_postgresql(
    tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL
) -> Repository:
    root = tmp_path_factory.mktemp("prepared") / "repository"
    make_repository(root, database=postgresql.create_database("prepared")).close()
    return Repository(root)


@pytest.fixture
def sqlite_repository(prepared_sqlite: Repository, tmp_path: Path) -> Iterator[Repository]:
    """A repository on SQLite, the test's own."""
    repository = prepared_sqlite.copy(tmp_path / "repository")
    yield repository
    repository.close()


@pytest.fixture
def make_pod(prepared_sqlite: Repository, tmp_path: Path) -> Iterator[Callable[[int], LocalPod]]:
    """Makes pods, each with a Butler of its own and the outputs of one detector."""
    repositories: list[Repository] = []

    def make(detector: int) -> LocalPod:
        repositories.append(prepared_sqlite.copy(tmp_path / f"pod{len(repositories)}"))
        return LocalPod.process(repositories[-1], detector=detector)

    yield make
    for repository in repositories:
        repository.close()


@pytest.fixture
def pod(make_pod: Callable[[int], LocalPod]) -> LocalPod:
    """A pod with outputs in its own Butler."""
    return make_pod(0)


@pytest.fixture
def copy_postgresql(
    postgresql: PostgreSQL, prepared_postgresql: Repository
) -> Iterator[Callable[[Path], Repository]]:
    """Makes repositories on PostgreSQL, the test's own."""
    copies: dict[str, Repository] = {}

    def copy(root: Path) -> Repository:
        name = f"repository{next(_numbers)}"
        with postgresql.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE prepared STRATEGY FILE_COPY")
        urls = (postgresql.url("prepared"), postgresql.url(name))
        copies[name] = prepared_postgresql.copy(root, urls)
        return copies[name]

    yield copy
    for name, repository in copies.items():
        repository.close()
        postgresql.drop_database(name)


@pytest.fixture
def postgresql_repository(
    copy_postgresql: Callable[[Path], Repository], tmp_path: Path
) -> Repository:
    """A repository on PostgreSQL, the test's own."""
    return copy_postgresql(tmp_path / "repository")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def repository(request: pytest.FixtureRequest) -> Repository:
    """A repository on each kind of database, the test's own."""
    own: Repository = request.getfixturevalue(f"{request.param}_repository")
    return own


@pytest.fixture
def empty(
    request: pytest.FixtureRequest, repository: Repository, tmp_path: Path
) -> Iterator[Butler]:
    """A repository without instruments and dataset types, on the same kind of database."""
    config = Config()
    if engine_of(repository.reader).dialect.name == "postgresql":
        config["registry", "db"] = request.getfixturevalue("postgresql_url")
    Butler.makeRepo(str(tmp_path / "empty"), config=config)
    with closing(Butler.from_config(str(tmp_path / "empty"), writeable=True)) as butler:
        yield butler
