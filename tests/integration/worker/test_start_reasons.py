"""What keeps a worker from starting is named in one line: the variable, the value, the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.embedded import EmbeddedBroker
from testbed.kafka import ApacheKafka
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.buckets import Bucket
from tests.support.deployment import Deployment

TLS = {"BUTLER_WRITER_KAFKA_TLS": "true"}
LISTS, ROOTS = "OUTPUT_DATASET_LIST_DIRECTORY", "BUTLER_WRITER_STAGING_ROOTS"
LOGIN = {"KAFKA_USERNAME": "writer", "KAFKA_PASSWORD": "writer-secret"}


def check_reasons(deployment: Deployment, cases: Mapping[str, Mapping[str, str]]) -> None:
    """Start a worker for each reason, all at the same time; each ends with its reason at once."""
    with ExitStack() as stack:
        workers = {
            reason: stack.enter_context(deployment.worker(**settings))
            for reason, settings in cases.items()
        }
        for reason, worker in workers.items():
            check_reason(worker, reason)


def check_reason(worker: Worker, reason: str) -> None:
    assert worker.wait(60) == 1
    line = worker.log_text().splitlines()[-1]
    assert re.fullmatch(f"butler-writer: {reason}", line), line
    assert "Traceback" not in worker.log_text()
    assert "writer-secret" not in line


@pytest.mark.kafka
def test_a_login_or_encryption_that_does_not_match_the_brokers_is_named(
    secure_kafka: ApacheKafka, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(secure_kafka, topic_name, tmp_path)
    encrypted = {"KAFKA_CLUSTER": secure_kafka.tls_bootstrap}
    trusted = TLS | {"BUTLER_WRITER_KAFKA_CA_FILE": str(secure_kafka.certificate)}
    plain, tls = re.escape(secure_kafka.bootstrap), re.escape(secure_kafka.tls_bootstrap)
    strict = re.escape(secure_kafka.strict_bootstrap)
    check_reasons(
        deployment,
        {
            f"Kafka at {plain}: the brokers require a login; set KAFKA_USERNAME and .*": {},
            f"Kafka at {plain}: BUTLER_WRITER_KAFKA_TLS=true, but .* no encryption .*": TLS | LOGIN,
            f"Kafka at {tls}: BUTLER_WRITER_KAFKA_TLS=false, but .* use encryption .*": encrypted,
            f"the certificate of Kafka at {tls} .* verify failed.*; check .*_KAFKA_CA_FILE, .*": {
                **TLS,
                **encrypted,
            },
            f"Kafka at {strict}: .* a client's certificate, .*; check .*_CERT_FILE .*": {
                **trusted,
                **LOGIN,
                "KAFKA_CLUSTER": secure_kafka.strict_bootstrap,
            },
            f"Kafka at {strict}: BUTLER_WRITER_KAFKA_TLS=false, but .* use encryption .*": {
                **LOGIN,
                "KAFKA_CLUSTER": secure_kafka.strict_bootstrap,
            },
            f"Kafka at {tls}: KAFKA_USERNAME and .* take no login on this port; unset them": {
                **trusted,
                **encrypted,
                **LOGIN,
            },
        },
    )


@pytest.mark.kafka
@pytest.mark.slow
def test_a_session_timeout_that_the_brokers_refuse_is_named(
    kafka: ApacheKafka, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(kafka, topic_name, tmp_path)
    check_reasons(
        deployment,
        {
            f"BUTLER_WRITER_KAFKA_SESSION_TIMEOUT={value} is refused .* 1 to 1800 s; .*": {
                "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": value
            }
            for value in ("0.5", "3600")
        },
    )


def test_folders_that_cannot_be_used_are_named(
    embedded_broker: EmbeddedBroker, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(embedded_broker, topic_name, tmp_path)
    file = tmp_path / "file"
    file.write_text("no folder")
    (tmp_path / "staging").mkdir()
    lists, roots, data = LISTS, ROOTS, "BUTLER_WRITER_DATA_DIRECTORY"
    check_reasons(
        deployment,
        {
            f"{lists}='.*/file/' cannot be used: NotADirectoryError: .*; name a folder .*": {
                lists: str(file)
            },
            f"{roots}='file:///nowhere/' cannot be used: FileNotFoundError: .*; name folders .*": {
                roots: f"{tmp_path}/staging,/nowhere"
            },
            f"{data}='{file}' cannot be used: File exists; name a folder .*": {data: str(file)},
            "cannot open the repository '/no/where'.*; check BUTLER_REPOSITORY; "
            f"{lists}='file:///nowhere/lists/' .*": {
                "BUTLER_REPOSITORY": "/no/where",
                lists: "/nowhere/lists",
            },
        },
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "file",
        "lists",
        "repository",
        "staging",
    ]
    assert not any(deployment.lists.iterdir())
    assert not any((tmp_path / "staging").iterdir())


@pytest.mark.slow
def test_buckets_that_cannot_be_used_are_named(
    embedded_broker: EmbeddedBroker, topic_name: str, tmp_path: Path, bucket: Bucket
) -> None:
    deployment = Deployment(
        embedded_broker, topic_name, tmp_path, settings=bucket.server.environment
    )
    check_reasons(
        deployment,
        {
            f"{LISTS}='s3://no-such-bucket/lists/' cannot be used: NoSuchBucket: .*": {
                LISTS: "s3://no-such-bucket/lists"
            },
            f"{LISTS}='s3://{bucket.name}/lists/' cannot be used: the file store needs a login: "
            "Unable to locate credentials; check AWS_ACCESS_KEY_ID and .*": {
                LISTS: f"s3://{bucket.name}/lists",
                "AWS_ACCESS_KEY_ID": "",
                "AWS_SECRET_ACCESS_KEY": "",
            },
            f"{ROOTS}='s3://no-such-bucket/' cannot be used: NoSuchBucket: .*": {
                ROOTS: "s3://no-such-bucket"
            },
        },
    )


def test_a_port_in_use_is_named(
    embedded_broker: EmbeddedBroker, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(embedded_broker, topic_name, tmp_path)
    with deployment.worker() as first:
        wait_until(lambda: first.status("/livez") == 200, 60, "the first worker's pages")
        port = f"--web-port={first.port}"
        with Worker(deployment.environment, arguments=[port]) as second:
            check_reason(
                second,
                f"the pages cannot use port {first.port} of .*: Address already in use; end .*",
            )
