"""Settings of the role of a worker, and of the downstream repository that the role fills."""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import SettingsConfigDict

from app.butler.policy import ReplicaPolicy, Transfer
from app.settings.kafka import KafkaSettings
from app.settings.quiet_hours import QuietHours
from app.settings.section import OptionalTopicName, Section, TopicName

__all__ = ["ChangedRecords", "DownstreamSettings", "ReplicaKafkaSettings", "Role"]

#: What a name of a topic may not have.
_OTHERS = re.compile(r"[^A-Za-z0-9._-]+")

#: The most characters of a target's name that is derived from its repository.
_LONGEST = 60


def _quiet_hours(value: object) -> object:
    return QuietHours.parse(value) if isinstance(value, str) else value


class Role(StrEnum):
    """What a worker does."""

    WRITE = "write"
    """It writes the events of pods."""

    REPLICATE = "replicate"
    """It fills a downstream repository from the product log."""


class ChangedRecords(StrEnum):
    """What becomes of a stored dimension record that comes again with other values."""

    KEEP = "keep"
    """It stays as it is."""

    REPLACE = "replace"
    """It gets the other values."""


class DownstreamSettings(Section, ReplicaPolicy):
    """The role of the worker, and what the role ``replicate`` does."""

    model_config = SettingsConfigDict(enable_decoding=False)  # no value is JSON

    role: Role = Role.WRITE
    """``write``: write the events of ``KAFKA_TOPIC``; ``replicate``: fill ``BUTLER_REPOSITORY``
    from the product log ``<KAFKA_TOPIC>-products``."""
    target: TopicName | None = None
    """Name of the downstream repository, which is part of its consumer group's name; default: the
    last part of ``BUTLER_REPOSITORY``."""

    rules: Path | None = None
    """File with the release rules (YAML); without it, everything is released at once."""

    quiet_hours: Annotated[QuietHours | None, BeforeValidator(_quiet_hours)] = None
    """Hours of the day, UTC, as ``HH:MM-HH:MM``, in which only datasets without an embargo are
    released, for the hours of observing; by default there are none."""

    changed_records: ChangedRecords = ChangedRecords.KEEP
    """What becomes of a stored dimension record that comes again with other values, such as a
    visit's region: ``keep`` or ``replace``.  Messages that are read again, since some of their
    datasets are due, replace none: their values are older."""

    @property
    def is_replica(self) -> bool:
        """Whether the worker fills a downstream repository."""
        return self.role is Role.REPLICATE

    @property
    def replaces_records(self) -> bool:
        """Whether dimension records of a downstream repository are replaced."""
        return self.is_replica and self.changed_records is ChangedRecords.REPLACE

    @property
    def requires_source(self) -> bool:
        """Whether the root of the artifacts must be known."""
        return self.is_replica and self.transfer is not Transfer.IN_PLACE

    @property
    def rules_id(self) -> str:
        """What the release rules have in common with no others; empty: there is no file of them."""
        if self.rules is None:
            return ""
        try:
            return hashlib.sha256(self.rules.read_bytes()).hexdigest()[:16]
        except OSError:  # the start of the worker says so
            return ""

    def target_of(self, repository: str | None) -> str:
        """Return the name of the downstream repository.

        Parameters
        ----------
        repository : `str` or `None`
            Its path, URI or alias.
        """
        if self.target is not None:
            return self.target
        path = (repository or "").split("://")[-1].rstrip("/").removesuffix("/butler.yaml")
        name = _OTHERS.sub("-", path.rpartition("/")[2]).strip("-")
        return name[-_LONGEST:] or "target"


class ReplicaKafkaSettings(KafkaSettings):
    """The topics of the role ``replicate``: its input topic is the product log.

    All names but that of the log begin with the consumer group's, so that two downstream
    repositories share nothing.
    """

    products_topic: OptionalTopicName | None = Field(
        None, validation_alias="BUTLER_WRITER_PRODUCTS_TOPIC"
    )
    """Topic of a product log of what was released; by default there is none."""
    topic: TopicName = Field("pp-output-products", validation_alias="KAFKA_TOPIC")
    """The product log, ``<KAFKA_TOPIC>-products``."""
    group: TopicName = Field("replicate", validation_alias="BUTLER_WRITER_KAFKA_GROUP")
    """Consumer group, ``<BUTLER_WRITER_KAFKA_GROUP>-replicate-<BUTLER_WRITER_TARGET>``; the names
    of the role's own topics begin with it."""

    @classmethod
    def of(cls, given: KafkaSettings, target: str) -> ReplicaKafkaSettings:
        """Return the settings for a downstream repository.

        Parameters
        ----------
        given : `KafkaSettings`
            The settings from the environment.
        target : `str`
            Name of the downstream repository.
        """
        is_logged = "products_topic" in given.model_fields_set
        names = {
            "topic": f"{given.topic}-products",
            "group": f"{given.group}-replicate-{target}",
            "products_topic": given.products_topic if is_logged else "",
        }
        return cls.model_construct(given.model_fields_set, **{**dict(given), **names})

    @property
    def announces(self) -> bool:
        """Whether windows are announced: not here, that is for the publication service."""
        return False

    @property
    def stem(self) -> str:
        """What the names of the role's own topics begin with."""
        return self.group

    @property
    def waiting_topic(self) -> str:
        """Topic of the table ``waiting``; Faust names it."""
        return f"{self.group}-waiting-changelog"

    @property
    def topic_names(self) -> dict[str, str]:
        """The name of each topic, by the variable that it comes from."""
        return {
            "the product log (<KAFKA_TOPIC>-products)": self.topic,
            "the dead-letter topic (<group>-dead-letters)": self.dead_letter_topic,
            "the topic of chain updates (<group>-chain-updates)": self.chain_update_topic,
            "the changelog (<group>-chains-changelog)": self.changelog_topic,
            "the changelog (<group>-waiting-changelog)": self.waiting_topic,
            **({"BUTLER_WRITER_PRODUCTS_TOPIC": self.product_topic} if self.product_topic else {}),
        }
