"""Creates the parts of a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from app import topics
from app.announce.product_log import ProductLog
from app.butler.events.limits import EventLimits
from app.butler.files.usable import (
    check_linking,
    check_list_directory,
    check_source_root,
    check_staging_root,
    check_store,
    check_writing,
)
from app.butler.policy import Transfer, WritePolicy
from app.butler.private.datastores import Datastores
from app.butler.private.registry import engine_of
from app.butler.private.removals import Removals
from app.butler.repository.chains import ChainKeeper
from app.butler.repository.connection import open_butler, opening
from app.butler.repository.new_types import NewTypes
from app.butler.repository.tags import register_tag
from app.butler.sessions.look import DatabaseLook
from app.butler.writer import ButlerWriter
from app.downstream.rules_file import read_rules
from app.downstream.selector import Selector
from app.kafka.checks.access import check_access
from app.kafka.checks.product_topic import product_log_problem
from app.kafka.checks.retention import retention_problem
from app.kafka.checks.topics import check_topics
from app.kafka.sending import TopicSender
from app.parts import Lane, Parts, Replica
from app.settings import DownstreamSettings, Settings
from app.startup import Dependency
from app.telemetry import metrics
from app.telemetry.availability import in_daemon_thread
from app.telemetry.build_info import show_build
from app.telemetry.flush_reports import FlushReports

if TYPE_CHECKING:
    from app.application import ButlerWriterApp

__all__ = ["dependencies", "open_parts", "replica_of"]

logger = structlog.get_logger("butler_writer")

#: In nanoseconds.
_HOUR = 3_600 * 1_000_000_000


def dependencies(app: ButlerWriterApp) -> list[list[Dependency]]:
    """Return what a starting worker waits for, in stages.

    No topic is created, in the second stage, for a worker that cannot write.

    Parameters
    ----------
    app : `ButlerWriterApp`
        Gets its parts when the repository is opened.
    """
    kafka = app.settings.kafka

    def open_repository() -> None:
        app.parts = open_parts(app)

    in_threads = [("the repository", open_repository), *_folders(app.settings)]
    return [
        [
            *(Dependency(name, partial(in_daemon_thread, call)) for name, call in in_threads),
            Dependency("Kafka", partial(check_access, app.connection, kafka)),
        ],
        [Dependency("Kafka", partial(_check_topics, app))],
    ]


def _folders(settings: Settings) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the checks of the folders that the role uses, each with the folder's name."""
    write, downstream = settings.write, settings.downstream
    if downstream.is_replica:
        if downstream.requires_source and downstream.source_root is not None:
            yield "the source root", partial(check_source_root, downstream.source_root)
        return
    lists = ResourcePath(write.dataset_list_directory or "", forceDirectory=True)
    yield "the list directory", partial(check_list_directory, lists)
    for root in write.staging_roots:
        yield "the staging root", partial(check_staging_root, root)


async def _check_topics(app: ButlerWriterApp) -> None:
    """Check all topics; switch the product log on if its topic, which is optional, can be used."""
    kafka = app.settings.kafka
    await check_topics(app.connection, kafka)
    replica = app.parts.replica
    if (
        replica is not None
        and replica.longest_embargo
        and (
            problem := await retention_problem(
                app.connection, kafka.topic, replica.longest_embargo / _HOUR
            )
        )
    ):
        metrics.RETENTION_PROBLEM.set(1)
        logger.error("the product log may lose what waits", reason=problem)
    if kafka.product_topic is not None:
        app.parts.product_log.start(await product_log_problem(app.connection, kafka))


def open_parts(app: ButlerWriterApp) -> Parts:
    """Open the repository, and create the parts that write to it.

    Parameters
    ----------
    app : `ButlerWriterApp`
        Has the settings, the intake and the status; all required settings must be set.

    Raises
    ------
    RepositoryError
        If the repository cannot be opened.
    """
    write = app.settings.write
    repository = write.repository or ""
    butler = open_butler(repository, write)
    with opening(repository):
        return _parts_of(app, butler)


def _parts_of(app: ButlerWriterApp, butler: Butler) -> Parts:
    settings = app.settings
    write, downstream = settings.write, settings.downstream
    policy: WritePolicy = write
    if downstream.is_replica:
        policy = downstream.policy_of(write)
    for store in Datastores(butler).stores:
        check_store(store.root)
        if policy.staging_roots:
            check_writing(store.root)
        if downstream.is_replica and downstream.transfer is Transfer.HARDLINK:
            check_linking(policy.staging_roots[0], store.root)
    if downstream.is_replica and downstream.tag is not None:
        register_tag(butler, downstream.tag)
    show_build(butler.dimensions)
    replica = downstream if downstream.is_replica else None
    limits = settings.limits if replica is None else EventLimits.without_any()
    new_types = NewTypes(policy.new_dataset_types or 0)

    def lane(number: int) -> Lane:
        own = butler.clone()
        removals = None if replica is None else Removals(own)
        return Lane(
            writer=ButlerWriter(own, policy, limits, new_types, replica=replica, removals=removals),
            removals=removals,
            chain_keeper=ChainKeeper(own),
            reports=FlushReports(app.status, number),
        )

    return Parts(
        intake=app.intake,
        lanes=[lane(number) for number in range(settings.windows.lanes)],
        sender=TopicSender(topics.outputs),
        product_log=ProductLog(app.settings.kafka.max_message_bytes),
        database_look=DatabaseLook(engine_of(butler)),
        list_directory=(write.dataset_list_directory or "") if settings.kafka.announces else None,
        announces_unobserved=write.announce_unobserved,
        max_event_bytes=settings.kafka.max_message_bytes,
        limits=limits,
        retry_wait_max=write.retry_wait_max,
        replica=None
        if replica is None
        else replace(replica_of(replica, butler), removals=Removals(butler.clone()).number),
    )


def replica_of(settings: DownstreamSettings, butler: Butler) -> Replica:
    """Return how a downstream repository is filled.

    Parameters
    ----------
    settings : `DownstreamSettings`
        The operator's choices.
    butler : `lsst.daf.butler.Butler`
        The repository.

    Raises
    ------
    RulesError
        If the release rules cannot be used.
    """
    universe = butler.dimensions
    selector = None
    if settings.rules is not None:
        selector = Selector(read_rules(settings.rules, universe), universe)
    return Replica(
        universe=(universe.namespace, universe.version),
        selector=selector,
        staging=None if settings.staging is None else str(settings.staging),
        replaces_records=settings.replaces_records,
        quiet_hours=settings.quiet_hours,
    )
