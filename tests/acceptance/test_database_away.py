"""A database that hangs, has moved to another server, or has lost its last commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from lsst.daf.butler import Butler
from sqlalchemy import make_url

from testbed.link import Link
from testbed.postgresql import PostgreSQL, Standby
from testbed.worker import CHECKOUT, Worker
from tests.acceptance.laboratory import Laboratory
from tests.support.events import RUN, stored_ids

#: What a worker reports before it ends because a step takes too long.
ALARM = "a step hangs, ending the worker"

STEP_LIMITS = {
    "BUTLER_WRITER_STEP_WARNING_SECONDS": "2",
    "BUTLER_WRITER_STEP_MAX_SECONDS": "8",
}


@pytest.fixture
def link(private_postgresql: PostgreSQL) -> Iterator[Link]:
    """The address at which workers reach the database."""
    with Link(private_postgresql.port) as link:
        yield link


@pytest.fixture
def laboratory(
    make_laboratory: Callable[..., Laboratory], private_postgresql: PostgreSQL, link: Link
) -> Laboratory:
    """A laboratory with its own database server."""
    database = private_postgresql.create_database("butler")
    laboratory = make_laboratory(database=database, settings=STEP_LIMITS)
    config = laboratory.deployment.root / "butler.yaml"
    address = make_url(database).set(port=link.port).render_as_string(hide_password=False)
    config.write_text(config.read_text().replace(database, address))
    return laboratory


def wait_started_again(worker: Worker) -> None:
    """Wait until a worker has ended itself, and start it again as Kubernetes does."""
    assert worker.wait(60) == 1
    worker.start()


def hang_twice(
    laboratory: Laboratory,
    hang: Callable[[], None],
    resume: Callable[[], None],
    come_back: Callable[[], None],
) -> None:
    """Let the database hang for less, and then for more, than a step may take."""
    (worker,) = laboratory.start()
    with laboratory.pods.load(rate=10):
        laboratory.wait_finished(20)
        hang()
        laboratory.wait_not_ready(worker)
        worker.wait_for_log("a step is slow")
        resume()
        laboratory.wait_finished(20)
        assert worker.process.returncode is None
        hang()
        wait_started_again(worker)
        come_back()
        worker.wait_ready()
        laboratory.wait_finished(20)
    laboratory.reconcile(alarm=ALARM)


@pytest.mark.slow
def test_postgresql_is_frozen_for_less_and_for_more_than_a_step_may_take(
    laboratory: Laboratory, private_postgresql: PostgreSQL
) -> None:
    database = private_postgresql
    hang_twice(laboratory, database.freeze, resume=database.thaw, come_back=database.thaw)


@pytest.mark.slow
def test_postgresql_moves_and_its_former_address_is_dead(
    laboratory: Laboratory, link: Link, private_postgresql: PostgreSQL
) -> None:
    """Sessions hang for ever, and new ones at first."""
    move = partial(link.lead_to, private_postgresql.port)
    hang_twice(laboratory, link.hang, resume=link.resume, come_back=move)


@pytest.mark.slow
def test_postgresql_is_read_only_after_a_failover(
    laboratory: Laboratory, link: Link, private_postgresql: PostgreSQL
) -> None:
    """Connections lead to a standby, and stay there when there is a writable server again."""
    with private_postgresql.connect() as administrator:
        administrator.execute((CHECKOUT / "deploy" / "read-replica" / "roles.sql").read_bytes())
    (worker,) = laboratory.start()
    with Standby(private_postgresql) as standby, laboratory.pods.load(rate=10):
        laboratory.wait_finished(20)
        link.lead_to(standby.port)
        link.cut()
        worker.wait_for_log("read-only")
        laboratory.wait_not_ready(worker)
        link.lead_to(private_postgresql.port)
        start = time.monotonic()
        laboratory.wait_finished(20)
        assert time.monotonic() - start < 10, "no connection to the standby is used again"
    laboratory.reconcile()


@pytest.mark.slow
def test_postgresql_lacks_its_last_commits_after_a_failover(
    laboratory: Laboratory, private_postgresql: PostgreSQL
) -> None:
    """Another run gets the key of one that was lost; the lost events are delivered again."""
    deployment = laboratory.deployment
    (worker,) = laboratory.start()
    with private_postgresql.connect() as administrator:
        administrator.execute("ALTER DATABASE butler ALLOW_CONNECTIONS false")
        end_sessions(administrator)
        administrator.execute("CREATE DATABASE older TEMPLATE butler STRATEGY FILE_COPY")
        administrator.execute("ALTER DATABASE butler ALLOW_CONNECTIONS true")
        laboratory.pods.send(20)
        deployment.wait_done()
        administrator.execute("DROP DATABASE butler WITH (FORCE)")
        administrator.execute("ALTER DATABASE older RENAME TO butler")
    Butler.from_config(str(deployment.root), writeable=True).collections.register("u/other")
    laboratory.pods.send(20)
    deployment.wait_done()
    butler = deployment.fresh_butler()
    assert stored_ids(butler, "u/other") == []
    assert stored_ids(butler, RUN) != []
    worker.term()
    assert worker.wait() == 0
    deployment.commit(0)
    laboratory.restart(worker)
    laboratory.reconcile()


def end_sessions(administrator: psycopg.Connection[Any]) -> None:
    """End all sessions of the repository's database."""
    administrator.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'butler'"
    )
