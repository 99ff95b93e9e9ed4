"""Settings of the connection to Kafka, and of the topics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from app.butler.policy import Seconds
from app.settings.section import MIB, Bytes, OptionalTopicName, Section, TopicName

__all__ = ["LARGEST_EVENT", "KafkaSettings"]

#: Size in bytes of the largest event that is accepted by default.
LARGEST_EVENT = 10 * MIB

#: A host, or an IPv6 address in brackets, and the port.
_SERVER = re.compile(r"(\[[\da-fA-F:.]+\]|[\w.-]+)(:\d+)?")


class KafkaSettings(Section):
    """The connection to Kafka, and the topics."""

    may_be_empty = frozenset({"BUTLER_WRITER_PRODUCTS_TOPIC"})

    cluster: str | None = Field(None, validation_alias="KAFKA_CLUSTER")
    """Bootstrap servers, ``host:port[,host:port...]``."""
    topic: TopicName = Field("pp-output", validation_alias="KAFKA_TOPIC")
    """Input topic; its name is also the stem of the dead-letter and chain-update topics."""
    output_topic: TopicName = Field("batch-ingested", validation_alias="KAFKA_OUTPUT_TOPIC")
    """Topic of the ``batch-ingested`` announcements."""
    products_topic: OptionalTopicName | None = Field(
        None, validation_alias="BUTLER_WRITER_PRODUCTS_TOPIC"
    )
    """Topic of the product log; default: ``<KAFKA_TOPIC>-products``; empty: the log is off."""
    group: TopicName = Field("butler-writer", validation_alias="BUTLER_WRITER_KAFKA_GROUP")
    """Consumer group, and Faust's application id; the deployed service's by default."""
    username: str | None = Field(None, validation_alias="KAFKA_USERNAME")
    """SCRAM-SHA-512 user; with a password, it switches SASL on."""
    password: SecretStr | None = Field(None, validation_alias="KAFKA_PASSWORD")
    """The user's password."""
    debug: Literal["0", "1"] = Field("0", validation_alias="KAFKA_DEBUG")
    """``1`` logs the Kafka client's debug messages."""
    tls: bool = Field(False, validation_alias="BUTLER_WRITER_KAFKA_TLS")
    """Encrypt the connection (``SSL``, or ``SASL_SSL`` with a user)."""
    ca_file: Path | None = Field(None, validation_alias="BUTLER_WRITER_KAFKA_CA_FILE")
    """Certificate authority to trust instead of the system's (PEM)."""
    cert_file: Path | None = Field(None, validation_alias="BUTLER_WRITER_KAFKA_CERT_FILE")
    """The client's certificate, for brokers that require one (PEM)."""
    key_file: Path | None = Field(None, validation_alias="BUTLER_WRITER_KAFKA_KEY_FILE")
    """The key of this certificate (PEM); default: it is in the same file."""
    replication_factor: int | None = Field(
        None, ge=1, le=32_767, validation_alias="BUTLER_WRITER_KAFKA_REPLICATION_FACTOR"
    )
    """Of topics that the worker creates; default: 3, or the number of brokers if smaller."""
    declare_input_output: bool = Field(
        False, validation_alias="BUTLER_WRITER_KAFKA_DECLARE_INPUT_OUTPUT"
    )
    """Create the input and output topics too; by default, a missing one is an error."""
    declare_topics: bool = Field(True, validation_alias="BUTLER_WRITER_KAFKA_DECLARE_TOPICS")
    """Create missing topics; switch off if a Kubernetes operator (Strimzi) manages them."""
    max_message_bytes: Bytes = Field(
        LARGEST_EVENT, validation_alias="BUTLER_WRITER_KAFKA_MAX_MESSAGE_BYTES"
    )
    """Largest event that is accepted, in bytes; a larger one becomes a dead letter."""
    session_timeout: Seconds = Field(30.0, validation_alias="BUTLER_WRITER_KAFKA_SESSION_TIMEOUT")
    """Seconds without a heartbeat after which a worker's partitions are assigned to others."""
    rebalance_timeout: Seconds = Field(
        60.0, validation_alias="BUTLER_WRITER_KAFKA_REBALANCE_TIMEOUT"
    )
    """Seconds that a rebalance may take."""
    commit_interval: Seconds = Field(1.0, validation_alias="BUTLER_WRITER_KAFKA_COMMIT_INTERVAL")
    """Seconds between two commits of acked offsets."""

    @model_validator(mode="after")
    def _name_products_topic(self) -> Self:
        if self.products_topic is None:  # the settings are frozen from now on
            object.__setattr__(self, "products_topic", f"{self.topic}-products")
        return self

    @field_validator("cluster")
    @classmethod
    def _check_servers(cls, value: str | None) -> str | None:
        for part in () if value is None else value.split(","):
            try:
                port = urlsplit(f"//{part.strip()}").port
            except ValueError as exc:
                raise ValueError(f"not host:port[,host:port...]: {exc}") from exc
            if port == 0 or not _SERVER.fullmatch(part.strip()):
                server = part.strip().rpartition("@")[2]  # without a password
                raise ValueError(f"not host:port[,host:port...]: {server!r}")
        return value

    @field_validator("ca_file", "cert_file", "key_file")
    @classmethod
    def _check_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("tls") is False:
            raise ValueError(
                "the connection is not encrypted; set BUTLER_WRITER_KAFKA_TLS=true, or unset it"
            )
        if value is not None and info.field_name == "key_file" and info.data["cert_file"] is None:
            raise ValueError("the key of no certificate; set BUTLER_WRITER_KAFKA_CERT_FILE too")
        return value

    @property
    def announces(self) -> bool:
        """Whether windows are announced on the output topic, with lists of their datasets."""
        return True

    @property
    def stem(self) -> str:
        """What the names of the dead-letter topic and of the chain updates begin with."""
        return self.topic

    @property
    def dead_letter_topic(self) -> str:
        """Topic of the events that can never be written."""
        return f"{self.stem}-dead-letters"

    @property
    def chain_update_topic(self) -> str:
        """Topic of the chain updates: what each window added to each (chain, run)."""
        return f"{self.stem}-chain-updates"

    @property
    def product_topic(self) -> str | None:
        """Topic of the product log; `None` if the log is switched off."""
        return self.products_topic or None

    @property
    def changelog_topic(self) -> str:
        """Topic of the table ``chains``; Faust names it."""
        return f"{self.group}-chains-changelog"

    @property
    def topic_names(self) -> dict[str, str]:
        """The name of each topic, by the variable that it comes from."""
        return {
            "KAFKA_TOPIC": self.topic,
            "KAFKA_OUTPUT_TOPIC": self.output_topic,
            "the dead-letter topic (<KAFKA_TOPIC>-dead-letters)": self.dead_letter_topic,
            "the topic of chain updates (<KAFKA_TOPIC>-chain-updates)": self.chain_update_topic,
            "the changelog (<BUTLER_WRITER_KAFKA_GROUP>-chains-changelog)": self.changelog_topic,
            **({"BUTLER_WRITER_PRODUCTS_TOPIC": self.product_topic} if self.product_topic else {}),
        }

    @property
    def brokers(self) -> list[str]:
        """Bootstrap servers, each ``host:port``."""
        return [part.strip() for part in (self.cluster or "").split(",") if part.strip()]
