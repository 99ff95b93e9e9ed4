"""An error of the client is one line that names what is wrong, and the setting to change."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AclOperation, ResourceType
from lsst.resources import ResourcePath

from butler_writer_client import (
    Artifact,
    KafkaTopic,
    PromptOutputWriter,
    TransferError,
    Undelivered,
    export_artifacts,
)
from butler_writer_client.testing import InProcessService
from testbed.kafka import ApacheKafka
from testbed.ports import free_port
from tests.support.pods import LocalPod, RecordingTopic

#: Seconds after which an event is given up, and the longest time until that is reported.
TIMEOUT = 3.0
BOUND = TIMEOUT + 5.0

Config = dict[str, str | int | float | bool]


def brokers(address: str) -> Config:
    return {"bootstrap.servers": address, "log_level": 0}


#: Connections without a server: brokers, and what the reason must name.
UNREACHABLE: dict[str, tuple[Config, list[str]]] = {
    "a wrong port": (
        brokers("127.0.0.1:1"),
        ["not confirmed within 3 s", "Connection refused", "bootstrap.servers"],
    ),
    "a name that does not exist": (
        brokers("no-such-host.invalid:9092"),
        ["Failed to resolve 'no-such-host.invalid:9092'", "check bootstrap.servers"],
    ),
}

#: Connections that a server with logins refuses: properties, and what the reason must name.
REFUSED: dict[str, tuple[Config, list[str]]] = {
    "no login where one is required": (
        {"security.protocol": "PLAINTEXT"},
        ["brokers close each connection", "security.protocol (it is plaintext)", "login"],
    ),
    "TLS where there is none": (
        {"security.protocol": "SSL"},
        ["PLAINTEXT broker listener?", "security.protocol"],
    ),
    "a wrong password": (
        {"sasl.password": "wrong"},
        ["invalid credentials", "check sasl.mechanism, sasl.username and sasl.password"],
    ),
    "another login mechanism": (
        {"sasl.mechanism": "PLAIN"},
        ["supported mechanisms: SCRAM-SHA-512", "check sasl.mechanism"],
    ),
}


def send(config: Config, name: str, value: bytes = b"{}") -> tuple[Undelivered, float]:
    """Send an event that is not delivered; return the report, and the seconds until it came."""
    begin = time.monotonic()
    (report,) = KafkaTopic(config, name, timeout=TIMEOUT).send([value])
    assert isinstance(report, Undelivered)
    return report, time.monotonic() - begin


def check_line(reason: str, address: object, topic: str, named: list[str]) -> None:
    assert "\n" not in reason
    assert f"topic '{topic}' at bootstrap.servers='{address}'" in reason
    for words in named:
        assert words in reason


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    """All events that are given up wait at the same time."""
    with ThreadPoolExecutor(len(UNREACHABLE) + len(REFUSED)) as pool:
        yield pool


@pytest.fixture(scope="module")
def unreachable(pool: ThreadPoolExecutor) -> Mapping[str, Future[tuple[Undelivered, float]]]:
    return {case: pool.submit(send, config, "outputs") for case, (config, _) in UNREACHABLE.items()}


@pytest.fixture(scope="module")
def refused(
    pool: ThreadPoolExecutor, secure_kafka: ApacheKafka
) -> Mapping[str, Future[tuple[Undelivered, float]]]:
    login: Config = {**brokers(secure_kafka.bootstrap), **secure_kafka.security("pod")}
    return {
        case: pool.submit(send, login | config, "outputs") for case, (config, _) in REFUSED.items()
    }


@pytest.mark.parametrize("case", UNREACHABLE)
def test_brokers_that_cannot_be_reached_are_named(
    case: str, unreachable: Mapping[str, Future[tuple[Undelivered, float]]]
) -> None:
    report, seconds = unreachable[case].result()
    config, named = UNREACHABLE[case]
    check_line(report.reason, config["bootstrap.servers"], "outputs", named)
    assert seconds < BOUND


@pytest.mark.kafka
@pytest.mark.parametrize("case", REFUSED)
def test_a_login_or_encryption_that_the_brokers_refuse_is_named(
    case: str,
    refused: Mapping[str, Future[tuple[Undelivered, float]]],
    secure_kafka: ApacheKafka,
) -> None:
    report, seconds = refused[case].result()
    check_line(report.reason, secure_kafka.bootstrap, "outputs", REFUSED[case][1])
    assert "secret" not in report.reason
    assert seconds < BOUND


@pytest.mark.kafka
class TestOfTopics:
    """The brokers answer, and refuse the event."""

    def test_a_missing_topic_is_named_with_the_brokers(
        self, secure_kafka: ApacheKafka, topic_name: str
    ) -> None:
        report, seconds = send(secure_kafka.client_config, topic_name)

        named = ["Unknown topic", "check the topic's name, or create the topic"]
        check_line(report.reason, secure_kafka.bootstrap, topic_name, named)
        assert not report.in_doubt
        assert seconds < BOUND

    def test_a_missing_right_is_named_with_the_user(
        self, secure_kafka: ApacheKafka, topic_name: str
    ) -> None:
        secure_kafka.create_topic(topic_name)
        secure_kafka.allow("pod", AclOperation.DESCRIBE, ResourceType.TOPIC, topic_name)
        login: Config = {**brokers(secure_kafka.bootstrap), **secure_kafka.security("pod")}

        report, _ = send(login, topic_name)

        named = ["the user 'pod' needs WRITE on the topic"]
        check_line(report.reason, secure_kafka.bootstrap, topic_name, named)
        assert not report.in_doubt

    @pytest.mark.parametrize("size", [5000, 11 * 2**20])
    def test_an_event_over_a_limit_is_refused_with_both_limits(
        self, secure_kafka: ApacheKafka, topic_name: str, size: int
    ) -> None:
        secure_kafka.create_topic(topic_name, max_message_bytes=1000)
        config: Config = {**secure_kafka.client_config, "compression.type": "none"}

        report, _ = send(config, topic_name, b"x" * size)

        named = ["size too large", "max_event_bytes=10485760", "max.message.bytes"]
        check_line(report.reason, secure_kafka.bootstrap, topic_name, named)
        assert not report.in_doubt


def test_the_reason_of_an_earlier_send_is_not_reported_again() -> None:
    """Brokers that went away and came back must not hide what is wrong now."""
    address = f"127.0.0.1:{free_port()}"
    topic = KafkaTopic(brokers(address), "outputs", timeout=1)
    (first,) = topic.send([b"{}"])
    assert first is not None
    assert "Connection refused" in first.reason
    assert topic._reasons.of_timeout(time.monotonic()).endswith(
        "no broker has answered; check bootstrap.servers and security.protocol"
    )


def test_an_error_that_is_repeated_is_named_without_how_often() -> None:
    failed = "kafka:9092/1: Connect to ipv4#10.0.0.1:9092 failed: Connection refused"
    repeated = f"{failed} (after 0ms in state CONNECT, 30 identical error(s) suppressed)"
    topic = KafkaTopic(brokers("kafka:9092"), "outputs")

    topic._reasons.note(KafkaError(KafkaError._TRANSPORT, repeated))

    assert f"{failed}; check bootstrap.servers" in topic._reasons.of_timeout(0.0)


def test_a_property_that_cannot_be_used_is_reported_before_anything_is_sent() -> None:
    config = {**brokers("kafka:9092"), "security.protocol": "SSL", "ssl.ca.location": "/no/ca.pem"}

    report, seconds = send(config, "outputs")

    check_line(report.reason, "kafka:9092", "outputs", ["ssl.ca.location failed"])
    assert not report.in_doubt
    assert seconds < 1


def test_events_that_do_not_fit_into_the_producers_queue_are_refused_with_its_limits() -> None:
    config: Config = {**brokers("127.0.0.1:1"), "queue.buffering.max.messages": 1}

    waiting, refused = KafkaTopic(config, "outputs", timeout=1).send([b"{}", b"{}"])

    assert waiting is not None
    assert waiting.in_doubt
    assert refused is not None
    assert not refused.in_doubt
    named = ["Queue full", "queue.buffering.max.messages and queue.buffering.max.kbytes"]
    check_line(refused.reason, "127.0.0.1:1", "outputs", named)


def test_a_pods_own_error_callback_is_called_and_hides_no_reason() -> None:
    noted: list[KafkaError] = []
    config: dict[str, Any] = {**brokers("127.0.0.1:1"), "error_cb": noted.append}

    (report,) = KafkaTopic(config, "outputs", timeout=1).send([b"{}"])

    assert report is not None
    assert "Connection refused" in report.reason
    assert noted


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"config": {}}, ValueError, "bootstrap.servers"),
        ({"config": {"bootstrap.servers": None}}, ValueError, "bootstrap.servers"),
        ({"config": {"bootstrap.servers": ["a:1", "b:2"]}}, TypeError, "bootstrap.servers=['a:1',"),
        ({"config": brokers("a:1") | {"transactional.id": "x"}}, ValueError, "'transactional.id'"),
        ({"config": "kafka:9092"}, TypeError, "config='kafka:9092'"),
        ({"name": ""}, ValueError, "name=''"),
        ({"name": "pp output"}, ValueError, "name='pp output'"),
        ({"name": ".."}, ValueError, "name='..'"),
        ({"name": None}, TypeError, "name=None"),
        ({"timeout": 0}, ValueError, "timeout=0"),
        ({"timeout": -1.5}, ValueError, "timeout=-1.5"),
        ({"timeout": float("nan")}, ValueError, "timeout=nan"),
        ({"timeout": float("inf")}, ValueError, "timeout=inf"),
        ({"timeout": 1e9}, ValueError, "timeout=1000000000"),
        ({"timeout": "60"}, TypeError, "timeout='60'"),
        ({"max_event_bytes": 0}, ValueError, "max_event_bytes=0"),
        ({"max_event_bytes": 10**10}, ValueError, "max_event_bytes=10000000000"),
        ({"max_event_bytes": 1.5}, TypeError, "max_event_bytes=1.5"),
        ({"max_event_bytes": True}, TypeError, "max_event_bytes=True"),
    ],
)
def test_arguments_of_a_topic_that_cannot_be_right_are_refused(
    arguments: dict[str, Any], error: type[Exception], named: str
) -> None:
    usual: dict[str, Any] = {"config": {"bootstrap.servers": "kafka:9092"}, "name": "pp-output"}
    with pytest.raises(error) as caught:
        KafkaTopic(**(usual | arguments))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["text", None, 1, bytearray(b"{}")])
def test_an_event_that_is_not_bytes_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="give bytes"):
        KafkaTopic(brokers("127.0.0.1:1"), "outputs").send([value])


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"root": ""}, ValueError, "root=''"),
        ({"root": None}, TypeError, "root=None"),
        ({"root": "foo://bucket/"}, ValueError, "root='foo://bucket/'"),
        ({"topic": "pp-output"}, TypeError, "topic='pp-output'"),
        ({"chains": [None]}, TypeError, "chains=[None]"),
        ({"chains": [["a"]]}, TypeError, "chains=[['a']]"),
        ({"chains": ["a", ""]}, ValueError, "chains=['a', '']"),
        ({"digests": "no"}, TypeError, "digests='no'"),
    ],
)
def test_arguments_of_a_writer_that_cannot_be_right_are_refused(
    arguments: dict[str, Any], error: type[Exception], named: str
) -> None:
    usual: dict[str, Any] = {"topic": RecordingTopic(), "root": "/store"}
    with pytest.raises(error) as caught:
        PromptOutputWriter(**(usual | arguments))
    assert named in str(caught.value)


def transfer_to(root: Path | str, pod: LocalPod) -> tuple[str, RecordingTopic]:
    """Transfer outputs to a root that cannot be used; return the error's text, and the topic."""
    topic = RecordingTopic()
    writer = PromptOutputWriter(topic, str(root))
    with pytest.raises(TransferError) as caught:
        writer.transfer_outputs(pod.butler, pod.records, pod.outputs)
    assert (caught.value.unused, caught.value.in_doubt, topic.values) == ([], [], [])
    assert "\n" not in str(caught.value)
    return str(caught.value), topic


@pytest.mark.parametrize(
    "path", ["../a.fits", "b/../../a.fits", "/a.fits", "s3://b/a.fits", "", "."]
)
def test_an_artifact_has_a_path_below_the_root(path: str) -> None:
    with pytest.raises(ValueError, match="below the root of the datastore") as caught:
        Artifact(ResourcePath("/pod/a.fits"), path, None, ())
    assert f"path={path!r}" in str(caught.value)


def test_a_local_root_that_does_not_exist_is_an_error_and_is_not_created(
    pod: LocalPod, tmp_path: Path
) -> None:
    root = tmp_path / "not-mounted"
    reason, _ = transfer_to(root, pod)
    assert f"root='file://{root}/': it does not exist" in reason
    assert not root.exists()


def test_a_local_root_that_is_a_file_is_an_error(pod: LocalPod, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    reason, _ = transfer_to(tmp_path / "file", pod)
    assert "it is not a folder" in reason


def test_a_local_root_that_cannot_be_written_is_named(pod: LocalPod) -> None:
    reason, _ = transfer_to("/proc", pod)  # nobody can create files there, not even root
    assert "10 of 10 artifacts cannot be stored under root='file:///proc/'" in reason


def test_an_artifact_that_cannot_be_read_for_its_checksum_is_a_transfer_error(
    pod: LocalPod, tmp_path: Path
) -> None:
    artifacts = export_artifacts(pod.butler, pod.outputs)
    artifacts[0].source.remove()
    writer = PromptOutputWriter(RecordingTopic(), str(tmp_path), digests=True)
    with pytest.raises(TransferError, match="an artifact cannot be read") as caught:
        writer.transfer(pod.records, artifacts)
    assert artifacts[0].source.basename() in str(caught.value)


@pytest.mark.parametrize("make", [iter, lambda given: (each for each in given)])
def test_datasets_and_artifacts_may_be_iterators(
    pod: LocalPod, tmp_path: Path, make: Callable[[list[Any]], Any]
) -> None:
    topic = RecordingTopic()
    writer = PromptOutputWriter(topic, str(tmp_path))

    assert writer.transfer_outputs(pod.butler, pod.records, make(pod.outputs)) == pod.outputs
    writer.transfer(pod.records, make(export_artifacts(pod.butler, pod.outputs)))

    assert len(topic.events) == 2
    assert len({event.event_id for event in topic.events}) == 1
    assert set(topic.refs) == {ref.id for ref in pod.outputs}


def test_a_bucket_that_does_not_exist_is_named(pod: LocalPod, bucket: object) -> None:
    reason, _ = transfer_to("s3://no-such-bucket/butler/", pod)
    assert "root='s3://no-such-bucket/butler/'" in reason
    assert "NoSuchBucket" in reason


@pytest.mark.parametrize(
    ("root", "module", "command"),
    [
        ("s3://bucket/", "boto3", "pip install 'butler-writer-client[s3]'"),
        ("gs://bucket/", "google.cloud.storage", "pip install 'lsst-resources[gs]'"),
        ("https://host/", "requests", "pip install 'lsst-resources[https]'"),
        ("davs://host/", "urllib3", "pip install 'lsst-resources[https]'"),
    ],
)
def test_a_root_whose_extra_is_not_installed_names_the_extra(
    root: str, module: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a wheel in an environment without the extra, `test_wheels.py` tests the same for S3."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        PromptOutputWriter(RecordingTopic(), root)
    assert str(caught.value).startswith(f"root='{root}': ")
    assert str(caught.value).endswith(f" needs {module}, which is not installed: {command}")


def test_the_testing_module_names_its_extra_if_the_service_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "app.parts", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'butler-writer-client\[testing\]'"):
        InProcessService(tmp_path)


def test_artifacts_are_not_stored_under_a_root_that_was_unmounted(
    pod: LocalPod, tmp_path: Path
) -> None:
    """The root is looked at before each transfer, not only when the writer is made."""
    root = tmp_path / "volume"
    root.mkdir()
    source = ResourcePath(str(tmp_path / "one.json"))
    source.write(b"{}")
    artifact = Artifact(source, "one.json", None, tuple(pod.outputs[:1]))
    writer = PromptOutputWriter(RecordingTopic(), str(root))
    writer.transfer(pod.records, [artifact])
    (root / "one.json").unlink()
    root.rmdir()
    with pytest.raises(TransferError, match="does not exist"):
        writer.transfer(pod.records, [artifact])
