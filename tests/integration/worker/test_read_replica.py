"""Pods read from a standby while the service writes to the primary."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest
import yaml
from lsst.daf.butler import Butler, DataCoordinate, MissingCollectionError
from sqlalchemy.exc import DBAPIError, OperationalError

from testbed.cluster import Cluster
from testbed.postgresql import PostgreSQL, Standby
from testbed.waiting import wait_until
from testbed.worker import CHECKOUT
from tests.conftest import FIGURE
from tests.support.deployment import Deployment
from tests.support.events import DETECTORS, INSTRUMENT, RUN, Night, dataset_ids, stored_ids
from tests.support.flow import check_all_written

pytestmark = pytest.mark.postgresql

GUIDE = CHECKOUT / "deploy" / "read-replica"
PODS = 4


@pytest.fixture
def primary(private_postgresql: PostgreSQL) -> PostgreSQL:
    """A primary as the guide sets it up, with a database for the repository."""
    with private_postgresql.connect() as connection:
        connection.execute("ALTER SYSTEM SET log_connections = on")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute((GUIDE / "roles.sql").read_bytes())
    private_postgresql.create_database("butler")
    return private_postgresql


@pytest.fixture
def standby(primary: PostgreSQL) -> Iterator[Standby]:
    with Standby(primary, {"hot_standby_feedback": "on"}) as standby:
        yield standby


@pytest.fixture
def deployment(broker: Cluster, primary: PostgreSQL, topic_name: str, tmp_path: Path) -> Deployment:
    settings = {"BUTLER_WRITER_WINDOW_SECONDS": "0.2"}
    return Deployment(
        broker, topic_name, tmp_path, database=primary.url("butler"), settings=settings
    )


@pytest.fixture
def read_repo(deployment: Deployment, standby: Standby, tmp_path: Path) -> Path:
    """The guide's configuration, with the addresses of this test."""
    config = yaml.safe_load((GUIDE / "butler.yaml").read_text())
    address = f"postgresql://pod@127.0.0.1:{standby.port}/butler"
    config["registry"]["db"] = address
    config["datastore"]["root"] = str(deployment.root)
    folder = tmp_path / "read"
    folder.mkdir()
    (folder / "butler.yaml").write_text(yaml.safe_dump(config))
    caught_up(deployment, standby)
    return folder


def caught_up(deployment: Deployment, standby: Standby) -> None:
    """Wait until the standby has what the primary has."""
    expected = count(deployment.database or "", "dataset_type")
    wait_until(
        lambda: count(standby.url("butler"), "dataset_type") == expected, 60, "the standby follows"
    )


def count(url: str, table: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        except psycopg.errors.UndefinedTable:
            return 0
        assert row is not None
        return int(row[0])


def query_inputs(read_repo: Path) -> int:
    """Query like a starting pod: find dimension records and datasets, and read one dataset."""
    butler = Butler.from_config(str(read_repo), writeable=False)
    try:
        assert len(butler.query_dimension_records("detector", instrument=INSTRUMENT)) == DETECTORS
        refs = butler.query_datasets("isr_log", collections=RUN, explain=False, limit=None)
        for ref in refs[:1]:
            assert butler.get(ref) == dict(ref.dataId.required)
        return len(refs)
    except MissingCollectionError:  # nothing has been written yet
        return 0
    finally:
        butler.close()


@contextmanager
def querying(read_repo: Path) -> Iterator[Callable[[], int]]:
    """Let pods query their inputs repeatedly; yields a function that counts complete rounds."""
    over = Event()
    done = [0] * PODS

    def pod(number: int) -> None:
        while not over.is_set():
            query_inputs(read_repo)
            done[number] += 1

    with ThreadPoolExecutor(PODS) as pool:
        pods = [pool.submit(pod, number) for number in range(PODS)]

        def least() -> int:
            for one in pods:
                if one.done():
                    one.result()
            return min(done)

        try:
            yield least
        finally:
            over.set()
        for one in pods:
            one.result()


def users_of(server: PostgreSQL) -> set[str]:
    """Return the users that have connected to a server, from its log."""
    return set(re.findall(r"connection authorized: user=(\w+)", server.log.read_text()))


def lag(deployment: Deployment, standby: Standby, expected: int) -> float:
    """Return the delay in seconds until the standby has as many datasets as the primary."""
    seen: dict[str, float] = {}
    with (
        psycopg.connect(deployment.database or "", autocommit=True) as one,
        psycopg.connect(standby.url("butler"), autocommit=True) as other,
    ):
        deadline = time.monotonic() + 60
        while len(seen) < 2 and time.monotonic() < deadline:
            for name, connection in (("primary", one), ("standby", other)):
                row = connection.execute("SELECT count(*) FROM dataset").fetchone()
                if name not in seen and row is not None and row[0] >= expected:
                    seen[name] = time.monotonic()
    assert set(seen) == {"primary", "standby"}
    return max(0.0, seen["standby"] - seen["primary"])


def test_pods_read_only_from_the_standby(
    deployment: Deployment,
    primary: PostgreSQL,
    standby: Standby,
    read_repo: Path,
    record_property: Callable[[str, object], None],
) -> None:
    night = Night(deployment.root)
    events: list[dict[str, Any]] = []
    lags = []
    with deployment.worker() as worker, querying(read_repo) as queries:
        worker.wait_ready()
        for detector in range(5):
            events.append(night.event(1, detector))
            deployment.send(events[-1])
            lags.append(lag(deployment, standby, 10 * len(events)))
        done = queries()
        wait_until(lambda: queries() > done, 60, "every pod queries once more")
        deployment.wait_done()
    assert query_inputs(read_repo) == 5
    reader = Butler.from_config(str(read_repo), writeable=False)
    assert set(stored_ids(reader)) == dataset_ids(*events)
    reader.close()
    assert "pod" in users_of(standby)
    assert "standby" in users_of(primary)
    assert "pod" not in users_of(primary)
    with primary.connect() as connection:
        roles = connection.execute("SELECT DISTINCT usename FROM pg_stat_activity").fetchall()
    assert ("pod",) not in roles
    slowest = 1000 * max(lags)
    record_property(FIGURE, f"replication lag of {len(lags)} windows: {slowest:.0f} ms at most")


def test_a_pod_cannot_write_and_its_large_queries_need_temporary_tables_off(
    read_repo: Path,
) -> None:
    def look_up(repository: Path) -> int:
        butler = Butler.from_config(str(repository), writeable=False)
        universe = butler.dimensions
        data_ids = [
            DataCoordinate.standardize(instrument=INSTRUMENT, detector=n, universe=universe)
            for n in range(1500)
        ]
        try:
            with butler.query() as query:
                joined = query.join_data_coordinates(data_ids)
                return len(list(joined.dimension_records("detector")))
        finally:
            butler.close()

    with pytest.raises(DBAPIError, match="read-only transaction"):
        Butler.from_config(str(read_repo), writeable=True)
    assert look_up(read_repo) == DETECTORS
    config = read_repo / "butler.yaml"
    config.write_text(config.read_text().replace("temporary_tables: false", ""))
    with pytest.raises(DBAPIError, match="read-only transaction"):
        look_up(read_repo)


def test_without_the_standby_pods_get_an_error_and_the_service_continues(
    deployment: Deployment, standby: Standby, read_repo: Path
) -> None:
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(6)]
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(*events[:2])
        deployment.wait_done()
        wait_until(lambda: query_inputs(read_repo) == 2, 60, "the standby has what was written")
        standby.stop()
        with pytest.raises(OperationalError, match=rf"port {standby.port} failed"):
            query_inputs(read_repo)
        deployment.send(*events[2:])
        deployment.wait_done()
        assert worker.status("/readyz") == 200
        standby.start()
        wait_until(lambda: query_inputs(read_repo) == 6, 60, "the standby has caught up")
    check_all_written(deployment, events)
