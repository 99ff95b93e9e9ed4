"""The access rights that the README lists, granted to a deployment's Kafka user."""

from __future__ import annotations

import re

from confluent_kafka.admin import AclOperation, ResourceType

from testbed.kafka import ApacheKafka
from testbed.worker import CHECKOUT
from tests.support.deployment import Deployment

__all__ = ["LOGIN", "RULES", "grant", "name_in"]

#: The worker's login, of the fixtures ``secure_kafka`` and ``private_secure_kafka``.
LOGIN = {"KAFKA_USERNAME": "writer", "KAFKA_PASSWORD": "writer-secret"}

#: The access rules in README.md: (kind of resource, its name, operation).
RULES = [
    (kind, name, operation)
    for kind, name, operations in re.findall(
        r"^\| (group|topic) `(.+)` \| ([A-Z_, ]+) \|$",
        (CHECKOUT / "README.md").read_text(),
        re.MULTILINE,
    )
    for operation in operations.split(", ")
]


def grant(
    cluster: ApacheKafka, deployment: Deployment, *, but: tuple[str, str, str] | None = None
) -> None:
    """Grant the user ``writer`` the access rules of the README, optionally except one."""
    for kind, name, operation in RULES:
        if (kind, name, operation) != but:
            cluster.allow(
                "writer",
                AclOperation[operation],
                ResourceType[kind.upper()],
                name_in(deployment, name),
            )


def name_in(deployment: Deployment, name: str) -> str:
    """Return the name that a resource of the README has in a deployment."""
    return (
        name.replace("butler-writer", deployment.group)
        .replace("KAFKA_OUTPUT_TOPIC", deployment.output_topic)
        .replace("<KAFKA_TOPIC>", deployment.topic)
        .replace("KAFKA_TOPIC", deployment.topic)
    )
