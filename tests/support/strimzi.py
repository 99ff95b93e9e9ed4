"""The manifests of deploy/strimzi, and what Strimzi makes of them: topics, users and rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml
from confluent_kafka.admin import AclOperation, ResourcePatternType, ResourceType

from app.kafka.checks.access_rights import Operation, Right
from testbed.kafka import ApacheKafka
from testbed.worker import CHECKOUT
from tests.support.deployment import Deployment

__all__ = [
    "DEPLOYED",
    "MANIFESTS",
    "Manifest",
    "StrimziDeployment",
    "login",
    "make",
    "manifests",
    "rights",
    "rules",
    "trial",
]

Manifest: TypeAlias = dict[str, Any]

MANIFESTS = CHECKOUT / "deploy" / "strimzi"

#: What the names of the service begin with in the manifests: topic, group and user.
_STEM = "butler-writer"

_PASSWORD = "made-by-strimzi"

#: The user of the deployed service, as Strimzi has it.
DEPLOYED = """
apiVersion: kafka.strimzi.io/v1
kind: KafkaUser
metadata: {name: butler-writer, labels: {strimzi.io/cluster: prompt-kafka}}
spec:
  authentication: {type: scram-sha-512}
  authorization:
    type: simple
    acls:
      - resource: {type: group, name: "*", patternType: literal}
        operations: [All]
      - resource: {type: topic, name: butler-writer, patternType: literal}
        operations: [All]
      - resource: {type: topic, name: butler-writer-ingestion-events, patternType: literal}
        operations: [All]
      - resource: {type: transactionalId, name: butler-writer-output, patternType: literal}
        operations: [All]
"""

#: How Kafka calls what Strimzi has another name for.
_OPERATIONS = {each.name.replace("_", "").lower(): each for each in AclOperation}
_KINDS = {each.name.replace("_", "").lower(): each for each in ResourceType}
_PATTERNS = {"literal": ResourcePatternType.LITERAL, "prefix": ResourcePatternType.PREFIXED}


def manifests(*files: str, stem: str = _STEM) -> list[Manifest]:
    """Return the manifests of some files, with the names of a deployment.

    Parameters
    ----------
    *files : `str`
        Names of files of deploy/strimzi.
    stem : `str`
        What the names begin with, instead of ``butler-writer``.
    """
    texts = [(MANIFESTS / file).read_text().replace(_STEM, stem) for file in files]
    return [manifest for text in texts for manifest in yaml.safe_load_all(text)]


def trial(stem: str = _STEM) -> Manifest:
    """Return the user of the deployed service after the patch trial.yaml."""
    user: Manifest = yaml.safe_load(DEPLOYED.replace(_STEM, stem))
    patch = (MANIFESTS / "trial.yaml").read_text().replace(_STEM, stem)
    for step in yaml.safe_load(patch):
        *path, last = [int(n) if n.isdigit() else n for n in step["path"].split("/")[1:]]
        target: Any = user
        for name in path:
            target = target[name]
        if step["op"] == "test":
            assert target[last] == step["value"]
        else:
            assert step["op"] == "replace"
            assert last in target
            target[last] = step["value"]
    return user


def rules(user: Manifest) -> list[tuple[AclOperation, ResourceType, str, ResourcePatternType]]:
    """Return the rules of a user."""
    return [
        (
            _OPERATIONS[operation.lower()],
            _KINDS[rule["resource"]["type"].lower()],
            rule["resource"]["name"],
            _PATTERNS[rule["resource"].get("patternType", "literal")],
        )
        for rule in user["spec"]["authorization"]["acls"]
        for operation in rule["operations"]
    ]


def rights(user: Manifest) -> set[Right]:
    """Return the rules of a user about topics and groups as `check` names them."""
    return {
        Right(Operation[operation.name], kind.name.lower(), name)
        for operation, kind, name, _ in rules(user)
        if kind in (ResourceType.TOPIC, ResourceType.GROUP)
    }


def make(kafka: ApacheKafka, given: Iterable[Manifest]) -> None:
    """Make topics and users with their rules, as Strimzi does.

    The node is alone: topics have one copy, which is enough for a message.
    """
    for manifest in given:
        name, spec = manifest["metadata"]["name"], manifest["spec"]
        if manifest["kind"] == "KafkaTopic":
            config = {**spec["config"], "min.insync.replicas": 1}
            kafka.create_topic(name, spec["partitions"], **config)
        else:
            kafka.change_password(name, _PASSWORD)
            for rule in rules(manifest):
                kafka.allow(name, *rule)


@dataclass
class StrimziDeployment(Deployment):
    """A deployment with the topics, the users and the rules of manifests, and no others.

    Attributes
    ----------
    given : `list` [`dict`]
        The manifests.
    """

    given: list[Manifest] = field(default_factory=list)

    def __post_init__(self) -> None:
        own = {**login(self.topic), "BUTLER_WRITER_KAFKA_GROUP": self.topic}
        self.settings = {**own, "BUTLER_WRITER_KAFKA_DECLARE_TOPICS": "false", **self.settings}
        super().__post_init__()

    def make_topics(self) -> None:
        """Make what the manifests say."""
        assert isinstance(self.cluster, ApacheKafka)
        make(self.cluster, self.given)
        self.partitions = self.cluster.topics()[self.topic]

    @property
    def output_topic(self) -> str:
        """The topic of the announcements."""
        return f"{self.topic}-ingestion-events"


def login(user: str) -> dict[str, str]:
    """Return the variables with which a user logs in that `make` has made."""
    return {"KAFKA_USERNAME": user, "KAFKA_PASSWORD": _PASSWORD}
