"""Checks of the repository: its database, its schema, the user's rights, its datastores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeGuard

import sqlalchemy
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from app.butler.failures import exception_chain
from app.butler.files.usable import (
    check_list_directory,
    check_listing,
    check_source_root,
    check_staging_root,
    check_store,
    check_writing,
)
from app.butler.policy import WritePolicy
from app.butler.private.coverage import uncovered_parts
from app.butler.private.datastores import Datastores
from app.butler.private.registry import RegistryTables, engine_of
from app.butler.private.rights import missing_grants
from app.butler.repository.connection import RepositoryError, open_butler, opening
from app.errors import UnavailableError
from app.operations.checks.downstream_items import downstream_items
from app.operations.checks.items import Item, Verdict, item_of
from app.settings import ButlerSettings, DownstreamSettings

__all__ = ["folder_items", "repository_items", "store_items"]

_DATABASE, _SCHEMA, _RIGHTS = "database", "schema versions", "rights on tables and sequences"
_CLOCK, _STORE = "clock", "datastore"

#: How far the clocks of this machine and of the database may differ, in seconds.  S3 refuses
#: requests if they differ by 15 minutes, and latencies are wrong by the difference.
_CLOCK_OFFSET = 10.0

#: Butler's errors if a repository was made, or migrated, by another release.
_VERSION_ERRORS = frozenset(
    {"IncompatibleVersionError", "ManagerMismatchError", "MissingManagerError"}
)


def repository_items(
    settings: ButlerSettings,
    downstream: DownstreamSettings | None = None,
    clock: Callable[[], float] = time.time,
) -> list[Item]:
    """Open the repository as a worker does, and check all that a write needs of it.

    Parameters
    ----------
    settings : `~app.settings.ButlerSettings`
        Names the repository.
    downstream : `~app.settings.DownstreamSettings`, optional
        The settings of the downstream repository, if it is one.
    clock : `~collections.abc.Callable`, optional
        Returns this machine's time, in seconds since the Unix epoch.
    """
    repository = settings.repository or ""
    try:
        butler = open_butler(repository, settings)
        with opening(repository):
            return [
                Item(_DATABASE, Verdict.OK, str(engine_of(butler).url.set(query={}))),
                Item(_SCHEMA, Verdict.OK, _versions(butler)),
                *_right_items(butler, downstream),
                _clock_item(butler, clock),
                *store_items(butler, _policy(settings, downstream)),
                *(downstream_items(butler, downstream) if _is_replica(downstream) else ()),
            ]
    except RepositoryError as exc:
        return _not_opened(exc)


def _is_replica(downstream: DownstreamSettings | None) -> TypeGuard[DownstreamSettings]:
    return downstream is not None and downstream.is_replica


def _policy(settings: ButlerSettings, downstream: DownstreamSettings | None) -> WritePolicy:
    return downstream.policy_of(settings) if _is_replica(downstream) else settings


def folder_items(
    settings: ButlerSettings, downstream: DownstreamSettings | None = None
) -> list[Item]:
    """Check the list directory and the staging roots, as a starting worker does.

    Of a downstream repository, check the source root instead.
    """
    if _is_replica(downstream):
        root = downstream.source_root
        if root is None or not downstream.requires_source:
            return []
        return [item_of(f"source root {root}", partial(check_source_root, root))]
    lists = ResourcePath(settings.dataset_list_directory or "", forceDirectory=True)
    return [
        item_of("list directory", lambda: check_list_directory(lists)),
        *(
            item_of(f"staging root {root}", partial(check_staging_root, root))
            for root in settings.staging_roots
        ),
    ]


def _not_opened(error: RepositoryError) -> list[Item]:
    is_version = any(type(link).__name__ in _VERSION_ERRORS for link in exception_chain(error))
    is_away = isinstance(error, UnavailableError)
    later = [_RIGHTS, _CLOCK, _STORE]
    skipped = [
        Item(name, Verdict.NOT_CHECKED, "it needs the repository", counts=False) for name in later
    ]
    if is_version:
        reason = f"{error}; install a release of the service for this schema, or migrate the schema"
        items = [Item(_DATABASE, Verdict.OK, "it answers"), Item(_SCHEMA, Verdict.WRONG, reason)]
        return [*items, *skipped]
    verdict = Verdict.NOT_CHECKED if is_away else Verdict.WRONG
    schema = Item(_SCHEMA, Verdict.NOT_CHECKED, "it needs the repository", counts=False)
    return [Item(_DATABASE, verdict, str(error)), schema, *skipped]


def _versions(butler: Butler) -> str:
    text = f"dimension universe {butler.dimensions.version}"
    if parts := uncovered_parts(butler):
        text = f"note: {text}; written with Butler.ingest, half as fast: {', '.join(parts)}"
    return text


def _right_items(butler: Butler, downstream: DownstreamSettings | None) -> Iterator[Item]:
    further = [*_rights_to_replace(butler)] if downstream and downstream.replaces_records else []
    with engine_of(butler).connect() as connection:
        grants = missing_grants(connection, RegistryTables(butler).dataset.schema, further)
    if not grants:
        yield Item(_RIGHTS, Verdict.OK)
    for grant in grants:
        on = grant.partition(" ON ")[2].partition(" TO ")[0]
        yield Item(
            f"right on {on}",
            Verdict.WRONG,
            f"the database user lacks a right that writes may need; {grant}",
        )


def _rights_to_replace(butler: Butler) -> Iterator[tuple[str, str]]:
    """Yield the tables, with the rights, that are needed to replace dimension records."""
    tables = RegistryTables(butler)
    others = set(tables.written())
    for element in butler.dimensions.elements:
        # A record that is only a key, such as a group's, is never replaced.
        if element.has_own_table and len(element.RecordClass.fields.names) > len(element.required):
            own = tables.element(element.name)
            yield own.name, "UPDATE"
            overlaps = set(tables.written([element.name])) - others - {own}
            yield from ((table.name, "DELETE") for table in overlaps)


def _clock_item(butler: Butler, clock: Callable[[], float]) -> Item:
    engine = engine_of(butler)
    if engine.dialect.name != "postgresql":
        return Item(_CLOCK, Verdict.OK, "the database has the clock of this machine")
    statement = sqlalchemy.text("SELECT extract(epoch FROM clock_timestamp())")
    with engine.connect() as connection:
        before = clock()
        there = float(connection.execute(statement).scalar_one())
        after = clock()
    offset = (before + after) / 2 - there
    if abs(offset) <= _CLOCK_OFFSET + (after - before) / 2:
        return Item(_CLOCK, Verdict.OK, f"{offset:+.1f} s from the database's")
    reason = f"this machine's clock is {offset:+.1f} s from the database's; set both right (NTP)"
    return Item(_CLOCK, Verdict.WRONG, reason)


def store_items(butler: Butler, policy: WritePolicy) -> Iterator[Item]:
    """Check that the datastores can be used as a worker uses them."""
    for store in Datastores(butler).stores:
        found = item_of(f"{_STORE} {store.root}", partial(check_store, store.root))
        yield found
        if found.verdict is not Verdict.OK:
            continue
        yield item_of(f"{_STORE} {store.root}: list", partial(check_listing, store.root))
        if policy.staging_roots:
            yield item_of(f"{_STORE} {store.root}: put, delete", partial(check_writing, store.root))
