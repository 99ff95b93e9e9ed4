"""Checks everything that a deployment needs."""

from __future__ import annotations

import asyncio
import os

from app.errors import OperatorError
from app.kafka.connection import KafkaConnection
from app.machine import check_data_directory
from app.operations.checks.downstream_items import retention_items
from app.operations.checks.items import Item, Verdict, item_of
from app.operations.checks.kafka_items import kafka_items
from app.operations.checks.repository_items import folder_items, repository_items
from app.settings import Settings, doubtful_variables

__all__ = ["all_items"]


async def all_items(connection: KafkaConnection, settings: Settings) -> list[Item]:
    """Check everything, as far as it can be checked.

    Parameters
    ----------
    connection : `KafkaConnection`
        The brokers.
    settings : `~app.settings.Settings`
        The settings; some may be missing.
    """
    try:
        settings.require_connections()
    except OperatorError as exc:
        return [
            Item("settings", Verdict.WRONG, f"{exc}; .env.example describes every variable"),
            *(
                Item(name, Verdict.NOT_CHECKED, "it needs the settings", counts=False)
                for name in ("brokers", "database", "list directory")
            ),
        ]
    doubtful = [
        Item("settings", Verdict.WRONG, reason)
        for reason in doubtful_variables(os.environ, settings)
    ]
    folder = settings.data_directory
    # The clients of database and stores block.
    of_kafka, of_retention, of_repository, of_folders = await asyncio.gather(
        kafka_items(connection, settings.kafka),
        retention_items(connection, settings),
        asyncio.to_thread(repository_items, settings.write, settings.downstream),
        asyncio.to_thread(folder_items, settings.write, settings.downstream),
    )
    return [
        *(doubtful or [Item("settings", Verdict.OK)]),
        item_of("data folder", lambda: check_data_directory(folder)),
        *of_kafka,
        *of_retention,
        *of_repository,
        *of_folders,
    ]
