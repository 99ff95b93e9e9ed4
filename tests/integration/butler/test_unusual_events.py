"""Unusual events: what the deployed service accepts is written, with the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.butler.policy import WriteMethod
from tests.support.comparison import Pair, compare, register_table_type
from tests.support.mutations import REFUSED
from tests.support.repositories import Repository

#: Some of each kind, for every run of the tests.
FEW = [
    "nothing",
    "nan in an unknown key",
    "huge number in an unknown key",
    "unknown key",
    "no datasets",
    "chains a string",
    "file without formatter",
    "id in upper case",
    "id as urn",
    "id twice",
    "detector a string",
    "detector a float",
    "detector true",
    "group a number",
    "data ID with implied values",
    "exposure_time nan",
    "exposure_time -infinity",
    "exposure_time nan in two records",
    "timespan of strings",
    "record twice",
    "region in upper case",
    "seq_num a float",
    "type with a convertible storage class",
    "type with a class that is convertible in one direction",
    "two types of the same name",
    "new type",
    "new type, unused",
    "type with an unknown storage class, unused",
]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def pair(
    request: pytest.FixtureRequest, prepared_sqlite: Repository, tmp_path: Path
) -> Iterator[Pair]:
    """Two equal repositories, on SQLite or PostgreSQL."""
    copy: Callable[[Path], Repository] = prepared_sqlite.copy
    if request.param == "postgresql":
        copy = request.getfixturevalue("copy_postgresql")
    pair = copy(tmp_path / "theirs"), copy(tmp_path / "ours")
    for repository in pair:
        register_table_type(repository)
    yield pair
    for repository in pair:
        repository.close()


def test_events_that_the_deployed_service_accepts_are_written(pair: Pair) -> None:
    refused = compare(pair, FEW, WriteMethod.RECORDS)
    assert refused == REFUSED.keys() & set(FEW)
