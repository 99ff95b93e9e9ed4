"""The access rights that the README lists, granted to a deployment's Kafka user."""

from __future__ import annotations

import re
from typing import TypeAlias

from confluent_kafka.admin import AclOperation, ResourceType

from testbed.kafka import ApacheKafka
from testbed.worker import CHECKOUT
from tests.support.deployment import Deployment

__all__ = [
    "LOGIN",
    "OPERATORS_RULES",
    "OPTIONAL_RULES",
    "ROLE_OPERATORS_RULES",
    "ROLE_RULES",
    "RULES",
    "grant",
    "name_in",
]

#: The worker's login, of the fixtures ``secure_kafka`` and ``private_secure_kafka``.
LOGIN = {"KAFKA_USERNAME": "writer", "KAFKA_PASSWORD": "writer-secret"}

_Rule: TypeAlias = tuple[str, str, str]


def _rules(last_column: str, text: str = (CHECKOUT / "README.md").read_text()) -> list[_Rule]:
    return [
        (kind, name, operation)
        for kind, name, operations in re.findall(
            rf"^\| (group|topic) `([^`]+)` \| ([A-Z_, ]+) \|{last_column}$", text, re.MULTILINE
        )
        for operation in operations.split(", ")
    ]


#: The access rules in README.md: (kind of resource, its name, operation).
RULES = _rules("")

#: Those that the commands need besides.
OPERATORS_RULES = _rules(" `.+` \\|")

#: Those that the product log needs.
OPTIONAL_RULES = _rules(r" the product log \|")

_FOR_WORKERS, _FOR_COMMANDS = (
    (CHECKOUT / "docs/downstream.md").read_text().split("The commands need these besides:")
)

#: The access rules of the role `replicate` in docs/downstream.md, and those of its commands.
ROLE_RULES = _rules(".*", _FOR_WORKERS)
ROLE_OPERATORS_RULES = _rules(".*", _FOR_COMMANDS)


def grant(
    cluster: ApacheKafka,
    deployment: Deployment,
    *,
    but: _Rule | None = None,
    operators: bool = False,
    optional: bool = False,
) -> None:
    """Grant the user ``writer`` the access rules of the README, optionally except one.

    Parameters
    ----------
    cluster : `ApacheKafka`
        The brokers.
    deployment : `Deployment`
        Names the topics and the group.
    but : `tuple`, optional
        The rule that is not granted.
    operators : `bool`
        Whether to grant what the commands need besides.
    optional : `bool`
        Whether to grant what the product log needs.
    """
    rules = [*RULES, *(OPERATORS_RULES if operators else []), *(OPTIONAL_RULES if optional else [])]
    for kind, name, operation in rules:
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
