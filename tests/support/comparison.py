"""Write events with the deployed service's calls and with this service, and compare the rows."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TypeAlias

from lsst.daf.butler import DatasetType

from agents.decoded_events import decode
from app.butler.outcome import Written
from app.butler.policy import WriteMethod
from app.butler.private.registry import engine_of
from models.errors import InvalidEventError
from testbed.peer import PeerWriter
from testbed.tables import check_same, tables_of
from testbed.writing import write_window
from tests.support.mutations import MUTATIONS, TABLE_TYPE, mutated
from tests.support.repositories import Repository

__all__ = ["Pair", "compare", "register_table_type"]

Pair: TypeAlias = tuple[Repository, Repository]
"""Equal repositories: of the deployed service, and of this one."""


def register_table_type(repository: Repository) -> None:
    """Register a dataset type that some events use."""
    butler = repository.butler()
    kind = ("exposure", "detector"), "ArrowAstropy"
    butler.registry.registerDatasetType(DatasetType(TABLE_TYPE, *kind, universe=butler.dimensions))


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
