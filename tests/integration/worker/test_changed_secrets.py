"""A password or key that is changed under a worker is named (rule stuck-workers-end)."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from testbed.cluster import Cluster
from testbed.postgresql import PostgreSQL
from testbed.s3 import S3Door
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.buckets import Bucket
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.flow import check_all_written


def wait_for_reason(worker: Worker, *texts: str) -> None:
    """Wait until ``/readyz`` says why the worker is not ready, with all of the texts."""

    def says_so() -> bool:
        reason = worker.state()["not_ready"] or ""
        return all(text in reason for text in texts)

    wait_until(says_so, 30, lambda: f"{texts}, not {worker.state()['not_ready']}")
    assert worker.status("/readyz") == 503
    assert worker.status("/livez") == 200


@pytest.mark.postgresql
def test_a_changed_password_of_the_database_is_named(
    broker: Cluster, private_postgresql: PostgreSQL, topic_name: str, tmp_path: Path
) -> None:
    server = private_postgresql
    database = server.create_database("butler").replace("postgres@", "writer@")
    require_password(server, "writer", "old-secret")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSWORD", "old-secret")
        deployment = Deployment(broker, topic_name, tmp_path, database=database)
    deployment.settings["BUTLER_WRITER_RETRY_WAIT_MAX"] = "1"
    events = [Night(deployment.root).event(1, detector) for detector in range(3)]
    with deployment.worker(PGPASSWORD="old-secret") as worker:
        worker.wait_ready()
        with server.connect() as connection:
            connection.execute("ALTER ROLE writer PASSWORD 'new-secret'")
        server.restart()
        deployment.send(*events)
        wait_for_reason(
            worker,
            "the database refuses the login: ",
            'password authentication failed for user "writer"; check PGPASSWORD',
        )
        assert "old-secret" not in worker.log_text()
    with deployment.worker(PGPASSWORD="old-secret") as worker:
        assert worker.wait() == 1
        line = worker.log_text().splitlines()[-1]
        assert line.startswith("butler-writer: cannot open the repository")
        assert line.endswith('authentication failed for user "writer"; check PGPASSWORD')
    with deployment.worker(PGPASSWORD="new-secret") as worker:
        worker.wait_ready()
        deployment.wait_done()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSWORD", "new-secret")
        check_all_written(deployment, events)


def require_password(server: PostgreSQL, role: str, password: str) -> None:
    """Create a role that must log in with a password; the super user need not."""
    with server.connect() as connection:
        connection.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{password}'")
        found = connection.execute("SHOW hba_file").fetchone()
        assert found is not None
        rules = "host all postgres all trust\nhost all all all scram-sha-256\n"
        Path(found[0]).write_text(rules)
        connection.execute("SELECT pg_reload_conf()")

    def is_required() -> bool:
        url = server.url("postgres").replace("postgres@", f"{role}:wrong@")
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return True
        return False

    wait_until(is_required, 10, "the server to require a password")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["artifacts", "lists"])
def test_a_changed_key_of_the_file_store_is_named(
    broker: Cluster, bucket: Bucket, s3_door: S3Door, topic_name: str, tmp_path: Path, what: str
) -> None:
    """S3 answers a check of an artifact without a reason."""
    deployment = Deployment(broker, topic_name, tmp_path)
    deployment.settings["BUTLER_WRITER_RETRY_WAIT_MAX"] = "1"
    events = [Night(deployment.root).event(1, detector) for detector in range(3)]
    if what == "lists":
        bucket.hold_lists_of(deployment)
    else:
        bucket.hold_artifacts_of(deployment)
        for event in events:
            bucket.upload(event)
    with deployment.worker(S3_ENDPOINT_URL=s3_door.url) as worker:
        worker.wait_ready()
        s3_door.refuses_key = True
        deployment.send(*events)
        wait_for_reason(
            worker, "InvalidAccessKeyId", "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
        s3_door.refuses_key = False
        deployment.wait_done()
        wait_until(lambda: worker.status("/readyz") == 200, 30, "the worker is ready again")
    check_all_written(deployment, events)
