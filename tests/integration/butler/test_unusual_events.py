"""Unusual events: what the deployed service accepts is written, with the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from lsst.daf.butler import DatasetType

from agents.window_flush import decode
from app.butler.outcome import Written
from app.butler.policy import WriteMethod
from app.butler.private.registry import engine_of
from bench.peer import PeerWriter
from models.errors import InvalidEventError
from testbed.tables import check_same, tables_of
from testbed.writing import write_window
from tests.support.mutations import MUTATIONS, REFUSED, TABLE_TYPE, mutated
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
]

Pair = tuple[Repository, Repository]


@pytest.fixture
def pair(
    request: pytest.FixtureRequest, prepared_sqlite: Repository, tmp_path: Path
) -> Iterator[Pair]:
    """Two equal repositories, on SQLite or PostgreSQL."""
    copy: Callable[[Path], Repository] = prepared_sqlite.copy
    if request.param == "postgresql":
        copy = request.getfixturevalue("copy_postgresql")
    pair = copy(tmp_path / "theirs"), copy(tmp_path / "ours")
    for repository in pair:
        butler = repository.butler()
        kind = ("exposure", "detector"), "ArrowAstropy"
        butler.registry.registerDatasetType(
            DatasetType(TABLE_TYPE, *kind, universe=butler.dimensions)
        )
    yield pair
    for repository in pair:
        repository.close()


class _RefusedError(Exception):
    """One of the services refuses an event."""


def compare(pair: Pair, names: Iterable[str], method: WriteMethod) -> set[str]:
    """Write events with both services; compare the rows of those that both accept.

    Returns
    -------
    refused : `set` [`str`]
        The events that the deployed service accepts and this one refuses.
    """
    theirs, ours = pair
    butler = theirs.butler()
    writer = ours.writer(write_method=method)
    refused = set()

    def write(name: str, message: bytes) -> None:
        PeerWriter(butler).write([message])
        try:
            outcome = write_window(writer, [decode(message, 10**8)]).outcomes[0]
        except InvalidEventError as exc:
            refused.add(name)
            raise _RefusedError from exc
        if not isinstance(outcome, Written):
            refused.add(name)
            raise _RefusedError

    for visit, name in enumerate(names, 910_000):
        messages = [mutated(r.night(f"u/{visit}"), visit, MUTATIONS[name]) for r in pair]
        assert messages[0] == messages[1]
        with suppress(Exception), butler.transaction():
            write(name, messages[0])
            continue
        butler.registry.refresh()
    check_same(*(tables_of(engine_of(repository.reader)) for repository in (ours, theirs)))
    return refused


both_databases = pytest.mark.parametrize(
    "pair", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)


@both_databases
def test_events_that_the_deployed_service_accepts_are_written(pair: Pair) -> None:
    refused = compare(pair, FEW, WriteMethod.RECORDS)
    assert refused == REFUSED.keys() & set(FEW)


@pytest.mark.slow
@pytest.mark.parametrize("method", list(WriteMethod))
@both_databases
def test_every_event_that_the_deployed_service_accepts_is_written(
    pair: Pair, method: WriteMethod
) -> None:
    assert compare(pair, MUTATIONS, method) == REFUSED.keys()
