"""Checks that only a downstream repository needs: release rules, links, and how long the log is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lsst.daf.butler import Butler, DimensionUniverse

from app.butler.files.usable import check_linking
from app.butler.policy import Transfer
from app.butler.private.datastores import Datastores
from app.downstream.rules_file import read_rules
from app.downstream.yaml_nodes import RulesError
from app.errors import OperatorError
from app.kafka.checks.retention import retention_problem
from app.kafka.connection import KafkaConnection
from app.operations.checks.items import Item, Verdict, item_of
from app.settings import DownstreamSettings, Settings

__all__ = ["downstream_items", "retention_items"]

#: In nanoseconds.
_HOUR = 3_600 * 1_000_000_000


def downstream_items(butler: Butler, settings: DownstreamSettings) -> Iterator[Item]:
    """Check the release rules, and that files can be linked if they are to be.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The downstream repository.
    settings : `~app.settings.DownstreamSettings`
        Names the rules and the source.
    """
    if settings.rules is None:
        yield Item("release rules", Verdict.OK, "note: there are none: everything is released")
    else:
        path = settings.rules

        def read() -> str:
            rules = read_rules(path, butler.dimensions)
            datasets, records = len(rules.for_datasets), len(rules.for_records)
            return f"{datasets} rules for datasets, {records} for records"

        yield item_of(f"release rules {path}", read)
    if settings.transfer is Transfer.HARDLINK and settings.source_root is not None:
        for store in Datastores(butler).stores:
            link = partial(check_linking, settings.source_root, store.root)
            yield item_of(f"links from the source to {store.root}", link)


async def retention_items(connection: KafkaConnection, settings: Settings) -> list[Item]:
    """Check that the product log keeps its messages for longer than the longest embargo.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers to ask.
    settings : `~app.settings.Settings`
        Names the product log and the rules.
    """
    path, topic = settings.downstream.rules, settings.kafka.topic
    if path is None or not settings.downstream.is_replica:
        return []
    name = f"topic {topic}: longer than the embargo"
    try:
        # The longest embargo does not depend on the dimensions of the repository.
        hours = read_rules(path, DimensionUniverse()).longest_embargo / _HOUR
    except RulesError:
        reason = "it needs the release rules"
        return [Item(name, Verdict.NOT_CHECKED, reason, counts=False)]
    try:
        problem = await retention_problem(connection, topic, hours) if hours else None
    except OperatorError as exc:  # the brokers are away, or there is no such topic
        return [Item(name, Verdict.NOT_CHECKED, str(exc), counts=False)]
    if problem is not None:
        return [Item(name, Verdict.WRONG, problem)]
    return [Item(name, Verdict.OK, f"the longest embargo is {hours:g} h")]
