"""The programs of examples/ read the product log of a real worker."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from testbed.cluster import Cluster
from testbed.worker import CHECKOUT
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids


def run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, CHECKOUT / "examples" / program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(database: Path) -> dict[UUID, tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT * FROM product").fetchall()
    return {UUID(row[0]): row[1:] for row in found}


def test_the_examples_read_the_product_log(
    broker: Cluster, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(broker, topic_name, tmp_path)
    topic, database = deployment.product_topic, tmp_path / "products.db"
    fill = ("products_table.py", broker.bootstrap, topic, str(database))
    night = Night(deployment.root)
    first, second = night.event(1, 0), night.event(1, 1)
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(first)
        deployment.wait_done()
        run(*fill)
        assert rows(database).keys() == dataset_ids(first)
        deployment.send(second, first)  # a dataset may be logged twice
        deployment.wait_done()
    run(*fill)
    run(*fill)
    found = rows(database)
    assert found.keys() == dataset_ids(first, second)
    for file in second["datasets"]:
        ((dataset_id, ref),) = file["refs"].items()
        kind, in_run, data_id, path, committed_at = found[UUID(dataset_id)]
        assert (kind, in_run, path) == (ref["dataset_type_name"], ref["run"], file["path"])
        assert json.loads(data_id) == ref["data_id"]
        assert datetime.now(UTC) - datetime.fromisoformat(committed_at) < timedelta(minutes=5)
    old = deployment.products()[0].asdict()
    old |= {"committed_at": "2026-01-01T00:00:00.000000+00:00", "batch_id": str(UUID(int=1))}
    broker.produce(topic, json.dumps(old).encode(), key=b"old")
    lines = run("products_of_the_last_hour.py", broker.bootstrap, topic).splitlines()
    assert len(lines) == len(dataset_ids(first, second))
    assert all(line.split(" ", 2)[1] in str(first) for line in lines)


def test_the_table_is_not_changed_if_the_program_ends_in_a_message(
    broker: Cluster, topic_name: str, tmp_path: Path
) -> None:
    """The offset is stored with the rows, in one transaction."""
    topic, database = f"{topic_name}-products", tmp_path / "products.db"
    broker.create_topic(topic)
    ref = {"dataset_type_name": "a", "run": "r", "data_id": {"detector": 1}}

    def message(number: int, **more: Any) -> bytes:
        file = {"refs": {str(UUID(int=number)): ref}, "path": "p"}
        return json.dumps({"datasets": [file], **more}).encode()

    broker.produce(topic, message(1, committed_at="2026"))
    broker.produce(topic, message(2))  # ends the program after the first row is made
    program = str(CHECKOUT / "examples" / "products_table.py")
    arguments = [program, broker.bootstrap, topic, str(database)]
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, timeout=60)
    assert rows(database).keys() == {UUID(int=1)}
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT * FROM position").fetchall() == [(0, 1)]
