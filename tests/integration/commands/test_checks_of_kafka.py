"""What ``check`` says if one thing about the brokers is broken: the item, and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion
from confluent_kafka import Consumer
from confluent_kafka.admin import (
    AclOperation,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from app.kafka.checks import access_rights
from app.kafka.checks.access_rights import Right
from app.kafka.checks.required import all_rights
from app.kafka.connection import KafkaConnection
from app.operations.checks.items import Item, Verdict
from app.operations.checks.kafka_items import kafka_items
from testbed.cluster import Cluster
from testbed.kafka import ApacheKafka
from testbed.ports import free_port
from testbed.waiting import wait_until
from tests.support.checked import item_named, settings_from, wrong_items
from tests.support.strimzi import login, make, manifests, rights

pytestmark = pytest.mark.kafka

TOPIC = GROUP = "checked"
OUTPUT = f"{TOPIC}-ingestion-events"
LETTERS, UPDATES = f"{TOPIC}-dead-letters", f"{TOPIC}-chain-updates"
CHANGELOG, PRODUCTS = f"{GROUP}-chains-changelog", f"{TOPIC}-products"
#: The topics that a worker needs, and the optional one.
TOPICS = (TOPIC, OUTPUT, LETTERS, UPDATES, CHANGELOG, PRODUCTS)

GIVEN = manifests("topics.yaml", "users.yaml", stem=TOPIC)
SERVICE = next(each for each in GIVEN if each["kind"] == "KafkaUser")


@dataclass
class Checked:
    """A deployment's topics and rights, all as they must be."""

    kafka: ApacheKafka
    environment: dict[str, str]

    async def items(self, **more: str) -> list[Item]:
        """Check the brokers with further settings."""
        with settings_from({**self.environment, **more}) as settings:
            return await kafka_items(KafkaConnection.of(settings.kafka), settings.kafka)

    @contextmanager
    def configured(self, topic: str, name: str, value: str, restored: str) -> Iterator[None]:
        """Change the configuration of a topic meanwhile."""
        self._set(topic, name, value)
        try:
            yield
        finally:
            self._set(topic, name, restored)

    def _set(self, topic: str, name: str, value: str) -> None:
        change = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[change])
        self.kafka.admin.incremental_alter_configs([resource])[resource].result(20)

        def is_set() -> bool:
            asked = ConfigResource(ConfigResource.Type.TOPIC, topic)
            found = self.kafka.admin.describe_configs([asked])[asked].result(20)
            return bool(found[name].value == value)

        wait_until(is_set, 20, f"{name}={value}")


@pytest.fixture(scope="module")
def checked(secure_kafka: ApacheKafka) -> Checked:
    kafka = secure_kafka
    make(kafka, GIVEN)
    environment = {
        "BUTLER_REPOSITORY": "unused",
        "OUTPUT_DATASET_LIST_DIRECTORY": "unused",
        "KAFKA_CLUSTER": kafka.bootstrap,
        "KAFKA_TOPIC": TOPIC,
        "KAFKA_OUTPUT_TOPIC": OUTPUT,
        "BUTLER_WRITER_KAFKA_GROUP": GROUP,
        **login(TOPIC),
    }
    return Checked(kafka, environment)


async def test_nothing_is_wrong_with_the_manifests(checked: Checked) -> None:
    items = await checked.items()
    assert [item for item in items if item.verdict is not Verdict.OK] == []
    notes = {item.name for item in items if item.detail.startswith("note: ")}
    assert notes == {f"topic {name}: replicas" for name in TOPICS}


@pytest.mark.parametrize(
    "right", [each for each in sorted(rights(SERVICE)) if each.name != PRODUCTS], ids=str
)
async def test_a_missing_access_rule_is_named(checked: Checked, right: Right) -> None:
    rule = (AclOperation[right.operation.name], ResourceType[right.kind.upper()], right.name)
    checked.kafka.forbid(TOPIC, *rule)
    try:
        items = wrong_items(await checked.items())
    finally:
        checked.kafka.allow(TOPIC, *rule)
    item = item_named(items, str(right))
    assert item.detail.startswith(f"Kafka user {TOPIC} lacks {right}, ")
    assert item.detail.endswith("; grant the access rules listed in README.md")


@pytest.mark.parametrize("name", [each for each in TOPICS if each != PRODUCTS])
async def test_a_missing_topic_is_named(checked: Checked, name: str) -> None:
    given = [each for each in GIVEN if each["kind"] == "KafkaTopic"]
    checked.kafka.delete_topic(name)
    try:
        items = wrong_items(await checked.items(BUTLER_WRITER_KAFKA_DECLARE_TOPICS="false"))
    finally:
        make(checked.kafka, [each for each in given if each["metadata"]["name"] == name])
    item = item_named(items, f"topic {name}")
    assert item.detail.startswith(f"there is no topic {name}, ")


@pytest.mark.parametrize("operation", ["WRITE", "DESCRIBE_CONFIGS"])
async def test_a_missing_rule_of_the_product_log_is_a_note(
    checked: Checked, operation: str
) -> None:
    right = (AclOperation[operation], ResourceType.TOPIC, PRODUCTS)
    checked.kafka.forbid(TOPIC, *right)
    try:
        items = await checked.items()
    finally:
        checked.kafka.allow(TOPIC, *right)
    assert wrong_items(items) == []
    item = item_named(items, f"{operation} on topic {PRODUCTS}")
    assert item.verdict is Verdict.OK
    assert item.detail.startswith(
        f"note: Kafka user {TOPIC} lacks {operation} on topic {PRODUCTS};"
    )
    assert item.detail.endswith("grant the access rules listed in README.md")


async def test_a_product_log_without_a_usable_topic_is_a_note(checked: Checked) -> None:
    off = "note: the product log is off: "
    with checked.configured(PRODUCTS, "cleanup.policy", "compact", "delete"):
        items = await checked.items()
    assert wrong_items(items) == []
    item = item_named(items, f"topic {PRODUCTS}: cleanup.policy")
    assert item.detail.startswith(f"{off}topic {PRODUCTS} has cleanup.policy=compact")
    items = await checked.items(BUTLER_WRITER_PRODUCTS_TOPIC="no-such")
    assert wrong_items(items) == []
    item = item_named(items, "topic no-such")
    assert item.verdict is Verdict.OK
    assert item.detail.startswith(f"{off}there is no topic no-such, or the user may not DESCRIBE")
    items = await checked.items(BUTLER_WRITER_PRODUCTS_TOPIC="")
    assert [item for item in items if "product" in f"{item.name} {item.detail}"] == []


@pytest.mark.parametrize(
    ("topic", "setting", "value", "restored", "aspect", "remedy"),
    [
        (TOPIC, "max.message.bytes", "1000", "11534336", "size limit", "set its max.message.bytes"),
        (LETTERS, "max.message.bytes", "99", "11534336", "size limit", "set its max.message.bytes"),
        (TOPIC, "cleanup.policy", "compact", "delete", "cleanup.policy", "policy to delete"),
        (OUTPUT, "cleanup.policy", "compact", "delete", "cleanup.policy", "policy to delete"),
        (LETTERS, "cleanup.policy", "compact", "delete", "cleanup.policy", "policy to delete"),
        (UPDATES, "cleanup.policy", "compact", "delete", "cleanup.policy", "policy to delete"),
        (CHANGELOG, "cleanup.policy", "delete", "compact", "cleanup.policy", "policy to compact"),
        (
            *(CHANGELOG, "cleanup.policy", "compact,delete", "compact"),
            *("cleanup.policy", "policy to compact"),
        ),
    ],
)
async def test_a_wrong_topic_is_named(
    checked: Checked, topic: str, setting: str, value: str, restored: str, aspect: str, remedy: str
) -> None:
    with checked.configured(topic, setting, value, restored):
        (item,) = wrong_items(await checked.items())
    assert item.name == f"topic {topic}: {aspect}"
    assert value in item.detail
    assert remedy in item.detail


async def test_a_short_retention_is_a_note(checked: Checked) -> None:
    with checked.configured(LETTERS, "retention.ms", "86400000", "1209600000"):
        items = await checked.items()
    assert item_named(items, f"topic {LETTERS}: retention") == Item(
        f"topic {LETTERS}: retention",
        Verdict.OK,
        "note: 1 days, but the input topic keeps events for 14 days; raise its retention.ms",
    )


@pytest.mark.parametrize(
    ("changed", "name", "remedy"),
    [
        ({"KAFKA_PASSWORD": "guess"}, "login", "check KAFKA_USERNAME and KAFKA_PASSWORD"),
        (
            {"KAFKA_USERNAME": "", "KAFKA_PASSWORD": ""},
            "brokers",
            "the brokers require a login; set KAFKA_USERNAME and KAFKA_PASSWORD",
        ),
        ({"BUTLER_WRITER_KAFKA_TLS": "true"}, "brokers", "set it to false"),
        ({"KAFKA_TOPIC": "no-such"}, "topic no-such", "check KAFKA_TOPIC"),
        ({"KAFKA_OUTPUT_TOPIC": "no-such"}, "topic no-such", "check KAFKA_TOPIC"),
        (
            {"BUTLER_WRITER_KAFKA_GROUP": "no-such"},
            "topic no-such-chains-changelog",
            "grant the user CREATE on it",
        ),
        (
            {
                "BUTLER_WRITER_KAFKA_GROUP": "no-such",
                "BUTLER_WRITER_KAFKA_DECLARE_TOPICS": "false",
            },
            "topic no-such-chains-changelog",
            "set BUTLER_WRITER_KAFKA_DECLARE_TOPICS=true",
        ),
    ],
)
async def test_a_wrong_setting_is_named(
    checked: Checked, changed: dict[str, str], name: str, remedy: str
) -> None:
    assert remedy in item_named(wrong_items(await checked.items(**changed)), name).detail


async def test_brokers_that_do_not_answer_are_not_checked(checked: Checked) -> None:
    items = await checked.items(KAFKA_CLUSTER=f"127.0.0.1:{free_port()}")
    item = item_named(items, "brokers")
    assert (item.verdict, item.counts) == (Verdict.NOT_CHECKED, True)
    assert item.detail.endswith("; check KAFKA_CLUSTER if it should be up")
    assert {item.verdict for item in items} == {Verdict.NOT_CHECKED}


async def test_members_that_are_no_workers_are_named(checked: Checked) -> None:
    other = Consumer({**checked.kafka.client_config, "group.id": GROUP})
    other.subscribe([TOPIC])
    try:
        wait_until(lambda: other.poll(0.1) or other.assignment(), 30, "an assignment")
        (item,) = wrong_items(await checked.items())
    finally:
        other.close()
    assert item.name == "members of the group"
    assert "'range'" in item.detail
    assert "stop them" in item.detail


async def test_a_topic_with_other_partitions_is_named(checked: Checked) -> None:
    """The last test, since a topic cannot lose partitions."""
    more = NewPartitions(UPDATES, 2)
    checked.kafka.admin.create_partitions([more])[UPDATES].result(20)
    wait_until(lambda: checked.kafka.topics()[UPDATES] == 2, 20, "two partitions")
    (item,) = wrong_items(await checked.items())
    assert item.name == f"topic {UPDATES}"
    assert "2 partitions but must have 1; delete it and create it again" in item.detail


UNUSED = {
    "BUTLER_REPOSITORY": "unused",
    "OUTPUT_DATASET_LIST_DIRECTORY": "unused",
    "KAFKA_TOPIC": "unused",
    "KAFKA_OUTPUT_TOPIC": "unused-ingested",
}


async def test_a_session_timeout_that_the_brokers_refuse_is_named(kafka: Cluster) -> None:
    environment = {
        **UNUSED,
        "KAFKA_CLUSTER": kafka.bootstrap,
        "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "100000",
    }
    with settings_from(environment) as settings:
        items = await kafka_items(KafkaConnection.of(settings.kafka), settings.kafka)
    assert "change it" in item_named(items, "session timeout").detail


def without_rights(request: Any, struct: type[Any]) -> Any:
    """Ask about topics, but not for what the user may do."""
    return struct(request._names, False, False, False)


def of_a_later_release(*_: object) -> Any:
    raise IncompatibleBrokerVersion


@pytest.mark.parametrize(
    ("build", "says_nothing_of"),
    [(without_rights, {"topic"}), (of_a_later_release, {"topic", "group"})],
)
async def test_rights_that_the_brokers_do_not_list_are_not_checked(
    kafka: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    build: Callable[..., Any],
    says_nothing_of: set[str],
) -> None:
    monkeypatch.setattr(access_rights._Topics, "build", build)
    with settings_from({**UNUSED, "KAFKA_CLUSTER": kafka.bootstrap}) as settings:
        items = await kafka_items(KafkaConnection.of(settings.kafka), settings.kafka)
        rights = all_rights(settings.kafka)
    for right in rights:
        item = item_named(items, str(right))
        is_known = right.kind not in says_nothing_of
        assert item.verdict is (Verdict.OK if is_known else Verdict.NOT_CHECKED)
        assert item.counts is is_known
