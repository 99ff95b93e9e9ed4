"""A worker that fills a downstream repository, with the topics and rules of deploy/strimzi."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from app.kafka.checks.access_rights import Operation, Right
from app.kafka.checks.required import all_rights
from testbed.kafka import ApacheKafka
from testbed.waiting import wait_until
from testbed.worker import faust_command
from tests.support.access_rules import ROLE_OPERATORS_RULES, ROLE_RULES
from tests.support.checked import settings_from
from tests.support.downstream import Downstream, log_events, selected
from tests.support.events import Night, stored_ids
from tests.support.strimzi import StrimziDeployment, login, manifests

#: For a hundred years, so that something waits.
RULES = """
- dataset_types: ["*_log"]
  embargo_hours: 876000
- dataset_types: ["*"]
  embargo_hours: 0
"""


def named(downstream: Downstream, name: str) -> str:
    """Return the name that a resource of docs/downstream.md has."""
    topic = downstream.source.topic
    return name.replace("<group>", downstream.group).replace("<KAFKA_TOPIC>", topic)


@pytest.mark.kafka
def test_the_manifests_of_the_role_are_sufficient(
    secure_kafka: ApacheKafka, topic_name: str, tmp_path: Path
) -> None:
    given = manifests("topics.yaml", "downstream.yaml", stem=topic_name)
    log = next(each for each in given if each["metadata"]["name"] == f"{topic_name}-products")
    log["spec"]["config"]["retention.ms"] = -1  # for the embargo of these rules
    source = StrimziDeployment(secure_kafka, topic_name, tmp_path, given=given)
    messages = log_events(source, [Night(source.root).event(1, d) for d in range(2)])
    secure_kafka.produce(source.product_topic, b"no message")
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    data = {"BUTLER_WRITER_DATA_DIRECTORY": str(tmp_path / "data")}
    settings = {"BUTLER_WRITER_KAFKA_DECLARE_TOPICS": "false", "BUTLER_WRITER_RULES": str(rules)}
    downstream = Downstream(source, tmp_path / "public", settings=settings)
    downstream.settings |= login(downstream.group)
    for_commands = [
        (AclOperation[operation], ResourceType[kind.upper()], named(downstream, name))
        for kind, name, operation in ROLE_OPERATORS_RULES
    ]
    for rule in for_commands:
        secure_kafka.forbid(downstream.group, *rule)
    with downstream.worker() as worker:
        worker.wait_ready()
        downstream.wait_done()
        lines = [json.loads(each) for each in worker.log_text().splitlines() if each[:1] == "{"]
        own = [each for each in lines if each.get("logger") == "butler_writer"]
        errors = [each for each in own if each["level"] in ("error", "critical")]
        assert {each["event"] for each in errors} == {"event set aside"}, errors
        at_once = selected(messages, "*_metadata", "*_summary")
        expected = {i for each in at_once for file in each.datasets for i in file["refs"]}
        assert {str(i) for i in stored_ids(downstream.butler())} == expected
        wait_until(lambda: '"held":0' in worker.page("/api/v1/overview"), 10, str)
        for rule in for_commands:
            secure_kafka.allow(downstream.group, *rule)
        assert worker.status("/dead-letters") == 200
        done = faust_command({**downstream.environment, **data}, "check")
        assert done.returncode == 0, done.stdout + done.stderr
        worker.term()
        assert worker.wait() == 0
    (letter,) = downstream.dead_letters()
    assert letter.value == b"no message"


def test_the_access_rules_of_the_role_are_those_that_check_asks_for(tmp_path: Path) -> None:
    environment = {
        "BUTLER_WRITER_ROLE": "replicate",
        "BUTLER_WRITER_TARGET": "public",
        "KAFKA_TOPIC": "events",
    }
    with settings_from(environment) as settings:
        asked = set(all_rights(settings.kafka))
        group = settings.kafka.group
    listed = {
        Right(
            Operation[operation],
            kind,
            name.replace("<group>", group).replace("<KAFKA_TOPIC>", "events"),
        )
        for kind, name, operation in [*ROLE_RULES, *ROLE_OPERATORS_RULES]
        if operation != "CREATE"
    }
    assert listed == asked
