"""The parts themselves: each starts, serves, survives a restart and ends."""

import psycopg
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AclOperation, ResourceType

from tests.parts.cluster import Cluster
from tests.parts.embedded import EmbeddedBroker
from tests.parts.kafka import ApacheKafka
from tests.parts.postgresql import PostgreSQL


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
def test_kafka_takes_a_message_of_ten_mebibytes(kafka: Cluster, topic_name: str) -> None:
    kafka.create_topic(topic_name)
    value = bytes(10 * 1024 * 1024)

    kafka.produce(topic_name, value)

    assert [message.value for message in kafka.consume(topic_name)] == [value]


@pytest.mark.kafka
def test_kafka_keeps_data_and_address_over_restart_and_kill(
    private_kafka: ApacheKafka, topic_name: str
) -> None:
    private_kafka.create_topic(topic_name)
    private_kafka.produce(topic_name, b"first")

    private_kafka.restart()
    private_kafka.produce(topic_name, b"second")
    private_kafka.kill()
    assert not private_kafka.answers()
    private_kafka.start()

    values = [message.value for message in private_kafka.consume(topic_name)]
    assert values == [b"first", b"second"]


@pytest.mark.kafka
def test_a_user_may_do_what_was_granted_and_nothing_else(
    secure_kafka: ApacheKafka, topic_name: str
) -> None:
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


def test_the_embedded_broker_ends_with_its_block() -> None:
    with EmbeddedBroker() as broker:
        assert broker.answers()
    assert not broker.answers()


@pytest.mark.postgresql
def test_a_fresh_database_has_what_butler_needs(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url) as connection:
        found = connection.execute("SELECT extname FROM pg_extension").fetchall()
    assert ("btree_gist",) in found


@pytest.mark.postgresql
def test_postgresql_keeps_data_and_address_over_restart_and_kill() -> None:
    with PostgreSQL({"autovacuum": "off"}) as server:
        url = server.create_database("repository", ["btree_gist", "pg_walinspect"])
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE run (name text)")
            connection.execute("INSERT INTO run VALUES ('first')")

        server.restart()
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        server.start()

        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT name FROM run").fetchall() == [("first",)]
            assert connection.execute("SHOW autovacuum").fetchone() == ("off",)
