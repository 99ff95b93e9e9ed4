"""Sends events during a fault, and checks that all of them were written."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any
from uuid import UUID

import psycopg

from tests.support.deployment import Deployment
from tests.support.events import DETECTORS, Night, dataset_ids, stored_ids

__all__ = ["check_all_written", "group_locked", "locked", "streaming"]

#: Seconds between two events of a stream.
PAUSE = 0.05


@contextmanager
def streaming(deployment: Deployment) -> Iterator[list[dict[str, Any]]]:
    """Send events, one after another, until the block ends; yields those that were sent."""
    night = Night(deployment.root)
    events: list[dict[str, Any]] = []
    over = threading.Event()

    def send() -> None:
        for number in count():
            event = night.event(1 + number // DETECTORS, number % DETECTORS)
            deployment.send(event, partition=number % deployment.partitions)
            events.append(event)
            if over.wait(PAUSE):
                return

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)
        try:
            yield events
        finally:
            over.set()
        sent.result()


@contextmanager
def locked(deployment: Deployment) -> Iterator[None]:
    """Block every write of the Butler with a lock."""
    assert deployment.database is not None
    with psycopg.connect(deployment.database) as connection, connection.transaction():
        connection.execute("LOCK TABLE dataset IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def group_locked(deployment: Deployment, event: dict[str, Any]) -> Iterator[None]:
    """Block the write of the events of one group with a row that is never committed."""
    assert deployment.database is not None
    record = next(r for r in event["dimension_records"] if r["definition"] == "group")["record"]
    with (
        psycopg.connect(deployment.database) as connection,
        connection.transaction(force_rollback=True),
    ):
        connection.execute(
            'INSERT INTO "group" (instrument, name) VALUES (%s, %s)',
            (record["instrument"], record["name"]),
        )
        yield


def check_all_written(
    deployment: Deployment, events: list[dict[str, Any]], dead_letters: int = 0
) -> None:
    """Check that each dataset is written once and announced; check the number of dead letters."""
    found = Counter(stored_ids(deployment.fresh_butler()))
    assert found == Counter(dataset_ids(*events))
    assert set(map(UUID, deployment.announced_ids())) == set(found)
    assert len(deployment.dead_letters()) == dead_letters
