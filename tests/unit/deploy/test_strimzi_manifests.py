"""deploy/strimzi has the topics that a worker requires, and the rights that the documents list."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from confluent_kafka.admin import ResourcePatternType, ResourceType

from app.kafka.checks.access_rights import Operation, Right
from app.kafka.checks.required import all_rights, all_topics
from app.settings import KafkaSettings
from tests.support.access_rules import (
    OPERATORS_RULES,
    OPTIONAL_RULES,
    ROLE_OPERATORS_RULES,
    ROLE_RULES,
    RULES,
)
from tests.support.checked import settings_from
from tests.support.strimzi import Manifest, manifests, rights, rules, trial

DEPLOYED = {"KAFKA_TOPIC": "butler-writer", "KAFKA_OUTPUT_TOPIC": "butler-writer-ingestion-events"}
DOWNSTREAM = {
    "BUTLER_WRITER_ROLE": "replicate",
    "BUTLER_WRITER_TARGET": "public",
    "KAFKA_TOPIC": "butler-writer",
}

#: What the documents call the names of the manifests.
NAMES = {
    "<group>": "butler-writer-replicate-public",
    "KAFKA_OUTPUT_TOPIC": "butler-writer-ingestion-events",
    "<KAFKA_TOPIC>": "butler-writer",
    "KAFKA_TOPIC": "butler-writer",
}

SERVICE, PODS, OPERATORS = manifests("users.yaml")
*_, ROLE = manifests("downstream.yaml")


def settings_of(environment: dict[str, str]) -> KafkaSettings:
    with settings_from(environment) as settings:
        return settings.kafka


def listed(given: Iterable[tuple[str, str, str]]) -> set[Right]:
    """Return the rights of a table, but not those to create topics: the manifests have them."""
    found = set()
    for kind, name, operation in given:
        for placeholder, own in NAMES.items():
            name = name.replace(placeholder, own)  # noqa: PLW2901
        found.add(Right(Operation[operation], kind, name))
    return {right for right in found if right.operation is not Operation.CREATE}


def by_name(given: Iterable[Manifest]) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in given if each["kind"] == "KafkaTopic"}


def test_the_service_has_the_rights_of_the_readme() -> None:
    assert rights(SERVICE) == listed([*RULES, *OPTIONAL_RULES, *OPERATORS_RULES])
    assert rights(SERVICE) == set(all_rights(settings_of(DEPLOYED)))


def test_the_role_has_the_rights_of_its_document() -> None:
    assert rights(ROLE) == listed([*ROLE_RULES, *ROLE_OPERATORS_RULES])
    assert rights(ROLE) == set(all_rights(settings_of(DOWNSTREAM)))


def test_only_the_deployed_service_needs_a_transaction() -> None:
    others = [
        rule for rule in rules(SERVICE) if rule[1] not in (ResourceType.TOPIC, ResourceType.GROUP)
    ]
    assert [(kind, name) for _, kind, name, _ in others] == [
        (ResourceType.TRANSACTIONAL_ID, "butler-writer-output")
    ]


def test_commands_need_no_right_that_the_service_lacks() -> None:
    """So they run in a worker's pod, too."""
    assert rights(OPERATORS) < rights(SERVICE)


def test_pods_can_only_send_events() -> None:
    assert rights(PODS) == {Right(Operation.WRITE, "topic", "butler-writer")}


@pytest.mark.parametrize("user", [SERVICE, PODS, OPERATORS, ROLE])
def test_rights_are_for_the_named_resources_alone(user: Manifest) -> None:
    assert {pattern for *_, pattern in rules(user)} == {ResourcePatternType.LITERAL}
    assert "*" not in {name for _, _, name, _ in rules(user)}


@pytest.mark.parametrize(
    ("environment", "files", "others"),
    [
        (DEPLOYED, ["topics.yaml"], set()),
        (DOWNSTREAM, ["downstream.yaml"], {"butler-writer-products"}),
    ],
)
def test_each_topic_is_as_a_worker_requires_it(
    environment: dict[str, str], files: list[str], others: set[str]
) -> None:
    required = {topic.name: topic for topic in all_topics(settings_of(environment))}
    given = by_name(manifests(*files))
    assert given.keys() | others == required.keys()
    for name, manifest in given.items():
        spec, topic = manifest["spec"], required[name]
        config = {key: str(value) for key, value in spec["config"].items()}
        assert config.items() >= topic.config.items()
        assert spec["partitions"] == (topic.partitions or spec["partitions"])
        assert (spec["replicas"], config["min.insync.replicas"]) == (3, "2")
        assert (config.get("cleanup.policy") == "compact") is topic.is_compacted
        if topic.largest_message is not None:
            assert int(config["max.message.bytes"]) >= topic.largest_message


def test_a_trial_changes_one_word() -> None:
    patterns = {name: pattern for _, _, name, pattern in rules(trial())}
    assert patterns.pop("butler-writer") is ResourcePatternType.PREFIXED
    assert set(patterns.values()) == {ResourcePatternType.LITERAL}
