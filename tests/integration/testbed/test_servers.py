"""The servers of the testbed: each starts, works, survives a restart and ends."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AclOperation, ResourceType

from testbed.cluster import Cluster
from testbed.embedded import EmbeddedBroker
from testbed.kafka import ApacheKafka
from testbed.postgresql import PostgreSQL
from testbed.s3 import S3Server
from testbed.waiting import wait_until
from testbed.worker import CHECKOUT, Worker


def _serves_messages(cluster: Cluster, topic: str) -> None:
    cluster.create_topic(topic, 3)
    where = cluster.produce(topic, b"event", key=b"pod", headers={"try": b"1"}, partition=2)

    assert where == (2, 0)
    (message,) = cluster.consume(topic)
    assert (message.partition, message.offset) == where
    assert (message.key, message.value) == (b"pod", b"event")
    assert message.headers == (("try", b"1"),)
    assert cluster.end_offsets(topic) == {0: 0, 1: 0, 2: 1}
    assert cluster.committed("nobody", topic) == {}


@pytest.mark.kafka
def test_kafka_serves_messages(kafka: Cluster, topic_name: str) -> None:
    _serves_messages(kafka, topic_name)


@pytest.mark.kafka
def test_kafka_accepts_a_message_of_ten_mebibytes(kafka: Cluster, topic_name: str) -> None:
    kafka.create_topic(topic_name)
    value = bytes(10 * 1024 * 1024)

    kafka.produce(topic_name, value)

    assert [message.value for message in kafka.consume(topic_name)] == [value]


@pytest.mark.kafka
def test_kafka_keeps_data_offsets_and_address_over_restart_and_kill(
    private_kafka: ApacheKafka, topic_name: str
) -> None:
    private_kafka.create_topic(topic_name)
    private_kafka.produce(topic_name, b"first")
    private_kafka.commit("group", topic_name, 1)

    private_kafka.restart()
    private_kafka.produce(topic_name, b"second")
    private_kafka.kill()
    assert not private_kafka.answers()
    private_kafka.start()

    values = [message.value for message in private_kafka.consume(topic_name)]
    assert values == [b"first", b"second"]
    assert private_kafka.committed("group", topic_name) == {0: 1}

    # The offsets can also be asked for while no broker coordinates the group: Kafka keeps them in
    # this topic, and makes it again.
    offsets = "__consumer_offsets"
    private_kafka.admin.delete_topics([offsets])[offsets].result(20)
    wait_until(
        lambda: not private_kafka.committed("group", topic_name), 20, "a coordinator without them"
    )


@pytest.mark.kafka
def test_a_user_may_do_only_what_was_granted(secure_kafka: ApacheKafka, topic_name: str) -> None:
    secure_kafka.create_topic(topic_name)

    with pytest.raises(KafkaException, match="authorization"):
        Cluster(secure_kafka.bootstrap, secure_kafka.security("pod")).produce(topic_name, b"event")
    secure_kafka.allow("pod", AclOperation.WRITE, ResourceType.TOPIC, topic_name)
    Cluster(secure_kafka.bootstrap, secure_kafka.security("pod")).produce(topic_name, b"event")

    assert [message.value for message in secure_kafka.consume(topic_name)] == [b"event"]
    with pytest.raises(KafkaException, match="authorization"):
        Cluster(secure_kafka.bootstrap, secure_kafka.security("pod")).consume(topic_name)


@pytest.mark.kafka
def test_a_wrong_password_is_refused(secure_kafka: ApacheKafka) -> None:
    wrong = secure_kafka.security("pod") | {"sasl.password": "guess"}

    assert not Cluster(secure_kafka.bootstrap, wrong).answers()


def test_the_embedded_broker_serves_messages(
    embedded_broker: EmbeddedBroker, topic_name: str
) -> None:
    _serves_messages(embedded_broker, topic_name)


def test_whichever_broker_is_chosen_serves_messages(broker: Cluster, topic_name: str) -> None:
    _serves_messages(broker, topic_name)


def test_the_embedded_broker_ends_with_its_with_block() -> None:
    with EmbeddedBroker() as broker:
        assert broker.answers()
    assert not broker.answers()


@pytest.mark.postgresql
def test_a_new_database_has_the_extension_that_the_butler_needs(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url) as connection:
        found = connection.execute("SELECT extname FROM pg_extension").fetchall()
    assert ("btree_gist",) in found


@pytest.mark.postgresql
def test_postgresql_keeps_data_and_address_over_restart_and_kill(
    private_postgresql: PostgreSQL,
) -> None:
    url = private_postgresql.create_database("repository", ["btree_gist", "pg_walinspect"])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE run (name text)")
        connection.execute("INSERT INTO run VALUES ('first')")

    private_postgresql.restart()
    private_postgresql.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    private_postgresql.start()

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT name FROM run").fetchall() == [("first",)]
        assert connection.execute("SHOW autovacuum").fetchone() == ("off",)


def test_an_s3_bucket_is_found_by_environment_variables_alone(s3_server: S3Server) -> None:
    address = s3_server.create_bucket("parts-reached")
    write = "import sys; from lsst.resources import ResourcePath as R; R(sys.argv[1]).write(b'v')"

    subprocess.run(
        [sys.executable, "-c", write, f"{address}folder/file"],
        env={"PATH": os.environ["PATH"], **s3_server.environment},
        check=True,
    )

    stored = s3_server.client().get_object(Bucket="parts-reached", Key="folder/file")
    assert stored["Body"].read() == b"v"


def test_an_s3_server_starts_empty() -> None:
    with S3Server() as first:
        first.create_bucket("parts-forgotten")
    with S3Server() as second:
        assert second.client().list_buckets()["Buckets"] == []


@pytest.fixture
def worker(broker: Cluster, tmp_path: Path) -> Iterator[Worker]:
    """A worker of an application that only has the pages of ours."""
    (tmp_path / "app.py").write_text(
        textwrap.dedent("""
        import os
        import faust

        app = faust.App("parts", broker="kafka://" + os.environ["BROKER"])
        # A consumer that is stopped while it joins its group never ends (faust-streaming).
        app.producer_only = True

        @app.page("/readyz")
        async def ready(web, request):
            return web.json({})

        @app.page("/state")
        async def state(web, request):
            return web.json({"environment": dict(os.environ), "folder": os.getcwd()})
        """)
    )
    with Worker({"BROKER": broker.bootstrap}, checkout=tmp_path) as worker:
        yield worker


def test_a_worker_sees_only_its_checkout_and_its_environment(
    worker: Worker, tmp_path: Path
) -> None:
    worker.wait_ready()

    state = worker.state()
    assert state["folder"] == str(tmp_path)
    assert {"BROKER", "PATH", "HOME"} <= set(state["environment"])
    assert "PYTEST_CURRENT_TEST" not in state["environment"]
    worker.term()
    assert worker.wait() == 0


def test_a_frozen_worker_does_not_answer_until_it_is_resumed(worker: Worker) -> None:
    worker.wait_ready()

    worker.stop_process()
    assert worker.status("/readyz") is None
    worker.continue_process()
    worker.wait_ready()


def test_a_killed_worker_can_be_started_again(worker: Worker) -> None:
    worker.wait_ready()

    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    worker.start()
    worker.wait_ready()


def test_the_log_of_a_worker_that_does_not_start_is_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import sys; sys.exit('no repository is set')")
    with Worker({}, checkout=tmp_path) as worker:
        worker.wait_for_log("no repository", timeout=30)
        with pytest.raises(ChildProcessError, match="no repository is set"):
            worker.wait_ready()


def test_servers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    start = """
        import time
        from concurrent.futures import ThreadPoolExecutor
        import psutil
        from testbed.embedded import EmbeddedBroker

        broker = EmbeddedBroker()
        with ThreadPoolExecutor() as pool:
            pool.submit(broker.start).result()
        # The thread that started the broker has ended; the broker has not.
        assert broker.answers()
        (child,) = psutil.Process().children()
        print(child.pid, flush=True)
        time.sleep(600)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(start)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    with parent:
        assert parent.stdout is not None
        broker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
        wait_until(lambda: not broker.is_running(), 10, "the broker's end")
