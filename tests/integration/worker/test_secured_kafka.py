"""A worker that logs in to Kafka, with the access rules that the README lists."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from testbed.cluster import Cluster
from testbed.kafka import ApacheKafka
from testbed.postgresql import PostgreSQL
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.access_rules import LOGIN, RULES, grant, name_in
from tests.support.deployment import Deployment
from tests.support.events import Night, dataset_ids, encode, stored_ids

pytestmark = pytest.mark.kafka

REMEDY = "; grant the access rules listed in README.md"

PAGES = (
    "/state",
    "/readyz",
    "/metrics",
    "/",
    "/windows",
    "/dead-letters",
    "/workers",
    "/settings",
    "/about",
    "/api/v1/overview",
    "/api/v1/settings",
    "/router/",
)


@pytest.fixture
def deployment(secure_kafka: ApacheKafka, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(secure_kafka, topic_name, tmp_path, settings=dict(LOGIN))


def start_error(worker: Worker) -> str:
    """Wait for a worker that refuses to start, and return its error line."""
    assert worker.wait() == 1
    *before, line = worker.log_text().splitlines()
    assert {json.loads(other)["event"] for other in before} <= {
        "starting",
        "topic created",
        "the connection to Kafka has a login, but is not encrypted",
    }
    return line


def test_the_access_rules_of_the_readme_are_sufficient(
    secure_kafka: ApacheKafka, deployment: Deployment
) -> None:
    """On a port with encryption, a login, and a client's certificate."""
    deployment.settings |= {
        "KAFKA_CLUSTER": secure_kafka.strict_bootstrap,
        "BUTLER_WRITER_KAFKA_TLS": "true",
        "BUTLER_WRITER_KAFKA_CA_FILE": str(secure_kafka.certificate),
        "BUTLER_WRITER_KAFKA_CERT_FILE": str(secure_kafka.client_certificate),
    }
    grant(secure_kafka, deployment)
    secure_kafka.allow("pod", AclOperation.WRITE, ResourceType.TOPIC, deployment.topic)
    pod = Cluster(secure_kafka.bootstrap, secure_kafka.security("pod"))
    events = [Night(deployment.root).event(1, detector) for detector in range(4)]
    with deployment.worker() as worker:
        worker.wait_ready()
        for event in events:
            pod.produce(deployment.topic, encode(event))
        pod.produce(deployment.topic, b"no event")
        deployment.wait_done()
        assert "size limit of topic not checked" not in worker.log_text()
        assert '"event": "no answer"' not in worker.log_text()
        assert "not encrypted" not in worker.log_text()
        worker.term()
        assert worker.wait() == 0
    assert set(stored_ids(deployment.fresh_butler())) == dataset_ids(*events)
    assert {str(i) for i in dataset_ids(*events)} == set(deployment.announced_ids())
    assert [letter.value for letter in deployment.dead_letters()] == [b"no event"]
    assert secure_kafka.consume(f"{deployment.topic}-chain-updates")


def test_a_wrong_password_ends_the_worker_at_once(deployment: Deployment) -> None:
    with deployment.worker(KAFKA_PASSWORD="guess") as worker:
        error = start_error(worker)
    kafka = f"Kafka at {deployment.cluster.bootstrap}"
    assert error.startswith(f"butler-writer: {kafka} refuses the login of user writer (SCRAM-")
    assert "Authentication failed" in error
    assert error.endswith("; check KAFKA_USERNAME and KAFKA_PASSWORD")
    assert "guess" not in error


@pytest.mark.parametrize(
    "rule",
    [
        ("topic", "KAFKA_TOPIC", "READ"),
        pytest.param(("topic", "<KAFKA_TOPIC>-dead-letters", "WRITE"), marks=pytest.mark.slow),
        ("group", "butler-writer", "READ"),
    ],
)
def test_a_missing_access_rule_is_named(
    secure_kafka: ApacheKafka, deployment: Deployment, rule: tuple[str, str, str]
) -> None:
    grant(secure_kafka, deployment, but=rule)
    kind, name, operation = rule
    lacks = f"{operation} on {kind} {name_in(deployment, name)}"
    with deployment.worker() as worker:
        assert start_error(worker) == f"butler-writer: Kafka user writer lacks {lacks}{REMEDY}"


def test_all_missing_access_rules_are_named(deployment: Deployment) -> None:
    with deployment.worker() as worker:
        error = start_error(worker)
    prefix = "butler-writer: Kafka user writer lacks "
    assert error.startswith(prefix)
    assert error.endswith(REMEDY)
    assert set(error.removeprefix(prefix).removesuffix(REMEDY).split(", ")) == {
        f"{operation} on {kind} {name_in(deployment, name)}"
        for kind, name, operation in RULES
        if operation in {"READ", "WRITE"}
    }


def test_a_topic_that_the_user_may_not_create_is_named(
    secure_kafka: ApacheKafka, deployment: Deployment
) -> None:
    grant(secure_kafka, deployment, but=("topic", "<KAFKA_TOPIC>-dead-letters", "CREATE"))
    with deployment.worker() as worker:
        error = start_error(worker)
    assert error.startswith(
        f"butler-writer: topic {deployment.dead_letter_topic} cannot be created: "
        "TopicAuthorizationFailedError"
    )
    assert "check the user's right to CREATE it" in error


@pytest.mark.parametrize(
    ("kind", "name", "operation"),
    [
        ("topic", "KAFKA_OUTPUT_TOPIC", "WRITE"),
        pytest.param("topic", "KAFKA_TOPIC", "READ", marks=pytest.mark.slow),
        pytest.param("group", "butler-writer", "READ", marks=pytest.mark.slow),
        pytest.param("topic", "<KAFKA_TOPIC>-dead-letters", "WRITE", marks=pytest.mark.slow),
        pytest.param("topic", "<KAFKA_TOPIC>-chain-updates", "READ", marks=pytest.mark.slow),
        pytest.param("topic", "butler-writer-chains-changelog", "WRITE", marks=pytest.mark.slow),
    ],
)
def test_a_right_that_is_withdrawn_is_named_and_nothing_is_lost(
    secure_kafka: ApacheKafka, deployment: Deployment, kind: str, name: str, operation: str
) -> None:
    """The worker waits; it continues when the right is granted again."""
    grant(secure_kafka, deployment)
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(3)]
    right = (AclOperation[operation], ResourceType[kind.upper()], name_in(deployment, name))
    with deployment.worker(BUTLER_WRITER_RETRY_WAIT_MAX="1") as worker:
        worker.wait_ready()
        deployment.send(events[0])
        deployment.wait_done()
        secure_kafka.forbid("writer", *right)
        deployment.send(*events[1:])
        secure_kafka.produce(deployment.topic, b"no event")
        lacks = f"Kafka user writer lacks {operation} on {kind} {name_in(deployment, name)}{REMEDY}"
        wait_until(lambda: lacks in (worker.state()["not_ready"] or ""), 15, lacks)
        assert worker.status("/readyz") == 503

        secure_kafka.allow("writer", *right)
        # The clients look for topics again only once a minute.
        deployment.wait_done(120)
        wait_until(lambda: worker.status("/readyz") == 200, 30, "the worker is ready again")
        lines = [json.loads(line) for line in worker.log_text().splitlines()]
    assert [line["reason"] for line in lines if line["event"] == "refused"] == [lacks]
    assert [line for line in lines if "exception" in line] == []
    assert set(stored_ids(deployment.fresh_butler())) == dataset_ids(*events)
    assert {str(i) for i in dataset_ids(*events)} == set(deployment.announced_ids())
    assert {letter.value for letter in deployment.dead_letters()} == {b"no event"}


def test_a_refused_send_is_one_log_line_without_the_message(
    secure_kafka: ApacheKafka, deployment: Deployment
) -> None:
    grant(secure_kafka, deployment)
    right = (AclOperation.WRITE, ResourceType.TOPIC, deployment.dead_letter_topic)
    with deployment.worker(BUTLER_WRITER_RETRY_WAIT_MAX="1") as worker:
        worker.wait_ready()
        secure_kafka.produce(deployment.topic, b"no event")
        deployment.wait_done()
        secure_kafka.forbid("writer", *right)
        secure_kafka.produce(deployment.topic, b"content of a letter")
        worker.wait_for_log("set_aside.*TopicAuthorizationFailedError")
        secure_kafka.allow("writer", *right)
        deployment.wait_done(120)
        lines = [json.loads(line) for line in worker.log_text().splitlines()]
    assert {line["logger"] for line in lines if "TopicAuthorizationFailed" in str(line)} == {
        "butler_writer"
    }


@pytest.mark.slow
def test_a_password_that_was_changed_is_named_and_the_worker_starts_with_the_new_one(
    private_secure_kafka: ApacheKafka, topic_name: str, tmp_path: Path
) -> None:
    """A broker closes no connection for it; after its restart, it refuses the old password."""
    deployment = Deployment(private_secure_kafka, topic_name, tmp_path, settings=dict(LOGIN))
    grant(private_secure_kafka, deployment)
    events = [Night(deployment.root).event(1, detector) for detector in range(4)]
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(*events[:2])
        deployment.wait_done()
        private_secure_kafka.change_password("writer", "new-secret")
        private_secure_kafka.restart()
        refused = f"{deployment.cluster.bootstrap} refuses the login of user writer (SCRAM-SHA-512)"
        wait_until(lambda: refused in (worker.state()["not_ready"] or ""), 30, refused)
        assert "check KAFKA_USERNAME and KAFKA_PASSWORD" in worker.state()["not_ready"]
        assert worker.status("/livez") == 200
        deployment.send(*events[2:])
    with deployment.worker(KAFKA_PASSWORD="new-secret") as worker:
        worker.wait_ready()
        deployment.wait_done()
    assert set(stored_ids(deployment.fresh_butler())) == dataset_ids(*events)


@pytest.mark.postgresql
def test_no_log_line_and_no_page_shows_a_password(
    secure_kafka: ApacheKafka,
    postgresql: PostgreSQL,
    postgresql_url: str,
    topic_name: str,
    tmp_path: Path,
) -> None:
    settings = {**LOGIN, "WRITER_DEBUG_LEVEL": "DEBUG", "KAFKA_DEBUG": "1"}
    database = postgresql_url.replace("postgres@", "postgres:database-secret@")
    deployment = Deployment(
        secure_kafka, topic_name, tmp_path, database=database, settings=settings
    )
    grant(secure_kafka, deployment)
    assert "database-secret" in (deployment.root / "butler.yaml").read_text()
    night = Night(deployment.root)
    with deployment.worker() as worker:
        worker.wait_ready()
        deployment.send(night.event(1))
        deployment.wait_done()
        postgresql.drop_database(database.rpartition("/")[2])
        deployment.send(night.event(2))
        worker.wait_for_log("step failed")
        assert worker.state()["last_error"]
        pages = [page(worker, path) for path in PAGES]
        log = worker.log_text()
    with deployment.worker() as worker:  # its database no longer exists
        assert worker.wait() == 1
        log += worker.log_text()
    assert '"level": "debug", "logger": "aiokafka' in log
    assert "cannot open the repository" in log
    for text in (log, *pages):
        assert "writer-secret" not in text
        assert "database-secret" not in text


def page(worker: Worker, path: str) -> str:
    """Return a page's text, whatever its status."""
    try:
        with urllib.request.urlopen(worker.url + path, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
