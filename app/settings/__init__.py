"""The worker's settings, from environment variables.

The deployed service's variables keep their names (``BUTLER_REPOSITORY``, ``KAFKA_*``,
``OUTPUT_DATASET_LIST_DIRECTORY``, ``WRITER_DEBUG_LEVEL``); everything else is ``BUTLER_WRITER_*``.
Nothing is required to load the application, only to connect: ``faust -A app agents`` works with an
empty environment.
"""

from __future__ import annotations

import logging
import re
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from lsst.resources import ResourcePath
from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.butler.policy import FileCheck, WritePath, WritePolicy
from app.errors import OperatorError
from app.intake.windows import WindowBounds

__all__ = [
    "KafkaSettings",
    "ServiceSettings",
    "Settings",
    "SettingsError",
    "WindowSettings",
    "WriteSettings",
    "load_settings",
]

MIB = 1024 * 1024


class SettingsError(OperatorError):
    """A setting is missing or wrong."""


class _Section(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="BUTLER_WRITER_", env_ignore_empty=True, frozen=True, extra="ignore"
    )


class KafkaSettings(_Section):
    """Where events come from and where announcements go."""

    cluster: str | None = Field(None, validation_alias="KAFKA_CLUSTER")
    """Bootstrap servers, ``host:port[,host:port...]``."""
    topic: str = Field("pp-output", validation_alias="KAFKA_TOPIC")
    """Input topic; its name is also the stem of the dead-letter and chain-update topics."""
    output_topic: str = Field("batch-ingested", validation_alias="KAFKA_OUTPUT_TOPIC")
    """Topic of the ``batch-ingested`` announcements."""
    group: str = Field("butler-writer", validation_alias="BUTLER_WRITER_KAFKA_GROUP")
    """Consumer group, and Faust's application id; the deployed service's by default."""
    username: str | None = Field(None, validation_alias="KAFKA_USERNAME")
    """SCRAM-SHA-512 user; given with a password, SASL is on."""
    password: SecretStr | None = Field(None, validation_alias="KAFKA_PASSWORD")
    debug: Literal["0", "1"] = Field("0", validation_alias="KAFKA_DEBUG")
    """``1`` logs the Kafka client's debug messages."""
    tls: bool = Field(False, validation_alias="BUTLER_WRITER_KAFKA_TLS")
    """Encrypt the connection (``SSL``, or ``SASL_SSL`` with a user)."""
    ca_file: Path | None = Field(None, validation_alias="BUTLER_WRITER_KAFKA_CA_FILE")
    """Certificate authority to trust instead of the system's."""
    replication_factor: PositiveInt | None = Field(
        None, validation_alias="BUTLER_WRITER_KAFKA_REPLICATION_FACTOR"
    )
    """For topics that the worker creates; default: 3, or all brokers where there are fewer."""
    declare_topics: bool = Field(True, validation_alias="BUTLER_WRITER_KAFKA_DECLARE_TOPICS")
    """Create missing topics; switch off where an operator (Strimzi) owns them."""
    max_message_bytes: PositiveInt = Field(
        10 * MIB, validation_alias="BUTLER_WRITER_KAFKA_MAX_MESSAGE_BYTES"
    )
    """Largest event taken, in bytes; a larger one becomes a dead letter."""
    session_timeout: PositiveFloat = Field(
        30.0, validation_alias="BUTLER_WRITER_KAFKA_SESSION_TIMEOUT"
    )
    """Seconds without a heartbeat after which the group gives a worker's partitions to others."""
    rebalance_timeout: PositiveFloat = Field(
        60.0, validation_alias="BUTLER_WRITER_KAFKA_REBALANCE_TIMEOUT"
    )
    """Seconds that a rebalance may take."""
    commit_interval: PositiveFloat = Field(
        1.0, validation_alias="BUTLER_WRITER_KAFKA_COMMIT_INTERVAL"
    )
    """Seconds between two commits of acked offsets."""

    @field_validator("cluster")
    @classmethod
    def _names_servers(cls, value: str | None) -> str | None:
        for part in (value or "").split(","):
            try:
                urlsplit(f"//{part.strip()}").port  # noqa: B018 - the access raises
            except ValueError as exc:
                raise ValueError(f"not host:port[,host:port...]: {exc}") from exc
        return value

    @property
    def dead_letter_topic(self) -> str:
        """Topic of the events that can never be written."""
        return f"{self.topic}-dead-letters"

    @property
    def chain_update_topic(self) -> str:
        """Topic of what each window brought to each (chain, run)."""
        return f"{self.topic}-chain-updates"

    @property
    def brokers(self) -> list[str]:
        """Bootstrap servers, each ``host:port``."""
        return [part.strip() for part in (self.cluster or "").split(",") if part.strip()]


class WindowSettings(_Section):
    """Size of the tumbling windows, and how much may wait in memory."""

    window_seconds: PositiveFloat = 1.0
    """Length of a window."""
    window_events: PositiveInt = 500
    """A window of so many events closes at once."""
    window_bytes: PositiveInt = 16 * MIB
    """A window of so many bytes closes at once."""
    max_bytes_held: PositiveInt = 48 * MIB
    """Bound on the bytes of all events received and not yet written."""
    shutdown_timeout: PositiveFloat = 20.0
    """Seconds to flush open windows on SIGTERM; what is not done is delivered again."""

    @property
    def bounds(self) -> WindowBounds:
        """When a window closes."""
        return WindowBounds(self.window_seconds, self.window_events, self.window_bytes)


class WriteSettings(_Section):
    """The Butler write."""

    repository: str | None = Field(None, validation_alias="BUTLER_REPOSITORY")
    """Path, URI or alias of the Butler repository."""
    dataset_list_directory: str | None = Field(
        None, validation_alias="OUTPUT_DATASET_LIST_DIRECTORY"
    )
    """Directory (any ``lsst.resources`` URI) for the lists of written datasets."""
    allowed_formatters: str = r"^lsst\.[\w.]+$"
    """Regular expression that a formatter's name must match; formatters are never imported."""
    chain_pattern: str = r"^(?P<chain>.+/prompt/output-\d{4}-\d{2}-\d{2})/.+$"
    """Derives the chain from a run's name where an event names none; empty: no chain."""
    file_check: FileCheck = FileCheck.ALL
    """Which artifacts must be found before their datasets are written."""
    write_path: WritePath = WritePath.RECORDS
    """How datasets are written."""
    missing_file_tries: PositiveInt = 3
    """How often a missing artifact is looked for before its event becomes a dead letter."""
    missing_file_wait: PositiveFloat = 0.5
    """Seconds between two such looks."""
    file_check_timeout: PositiveFloat = 60.0
    """Seconds that the file check of one window may take."""
    staging_roots: str = ""
    """Where staged artifacts may be, ``uri[,uri...]``; empty: no staged artifact is taken."""
    staging_timeout: PositiveFloat = 300.0
    """Seconds that bringing home the staged artifacts of one window may take."""
    statement_timeout: PositiveFloat = 120.0
    """Seconds that one SQL statement may take (PostgreSQL)."""
    lock_timeout: PositiveFloat = 30.0
    """Seconds that one SQL statement may wait for a lock (PostgreSQL)."""
    retry_wait_max: PositiveFloat = 30.0
    """Longest wait in seconds between two tries while a dependency is away."""

    @field_validator("dataset_list_directory")
    @classmethod
    def _is_a_uri(cls, value: str | None) -> str | None:
        try:
            ResourcePath(value or "", forceDirectory=True)
        except NotImplementedError as exc:
            raise ValueError(str(exc)) from exc
        return value

    @field_validator("staging_roots")
    @classmethod
    def _are_uris(cls, value: str) -> str:
        try:
            _roots(value)
        except (NotImplementedError, ValueError) as exc:
            raise ValueError(f"not uri[,uri...]: {exc}") from exc
        return value

    @field_validator("allowed_formatters", "chain_pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as exc:
            raise ValueError(f"not a regular expression: {exc}") from exc
        return value

    @field_validator("chain_pattern")
    @classmethod
    def _names_the_chain(cls, value: str) -> str:
        if value and "chain" not in re.compile(value).groupindex:
            raise ValueError("the expression must have a group (?P<chain>...)")
        return value

    @property
    def policy(self) -> WritePolicy:
        """What the write path needs to know."""
        return WritePolicy(
            allowed_formatters=re.compile(self.allowed_formatters),
            file_check=self.file_check,
            write_path=self.write_path,
            chain_pattern=re.compile(self.chain_pattern) if self.chain_pattern else None,
            missing_file_tries=self.missing_file_tries,
            missing_file_wait=self.missing_file_wait,
            file_check_timeout=self.file_check_timeout,
            staging_roots=_roots(self.staging_roots),
            staging_timeout=self.staging_timeout,
            statement_timeout=self.statement_timeout,
            lock_timeout=self.lock_timeout,
        )


def _roots(uris: str) -> tuple[ResourcePath, ...]:
    return tuple(
        ResourcePath(uri.strip(), forceDirectory=True) for uri in uris.split(",") if uri.strip()
    )


class ServiceSettings(_Section):
    """The worker process itself."""

    debug_level: str = Field("INFO", validation_alias="WRITER_DEBUG_LEVEL")
    """Python log level; one that Python does not know means INFO."""
    data_directory: Path = Path("/tmp/butler-writer")  # noqa: S108 - a cache, made anew when lost
    """Faust's own files; nothing in it is needed after a restart."""
    watchdog: bool = True
    """Exit (non-zero) when the consumer is stuck, so that the pod is started again."""

    @cached_property
    def log_level(self) -> int:
        """The level as a number."""
        return logging.getLevelNamesMapping().get(self.debug_level.upper(), logging.INFO)


class Settings:
    """All settings, by concern."""

    def __init__(self) -> None:
        self.kafka = KafkaSettings()
        self.windows = WindowSettings()
        self.write = WriteSettings()
        self.service = ServiceSettings()

    def require_connections(self) -> None:
        """Check that everything that a worker must connect to is named.

        Raises
        ------
        SettingsError
            Naming every variable that is missing.
        """
        needed = {
            "BUTLER_REPOSITORY": self.write.repository,
            "KAFKA_CLUSTER": self.kafka.cluster,
            "KAFKA_TOPIC": "topic" in self.kafka.model_fields_set,
            "KAFKA_OUTPUT_TOPIC": "output_topic" in self.kafka.model_fields_set,
            "OUTPUT_DATASET_LIST_DIRECTORY": self.write.dataset_list_directory,
        }
        if missing := [name for name, value in needed.items() if not value]:
            raise SettingsError(f"not set: {', '.join(missing)}")
        if (self.kafka.username is None) != (self.kafka.password is None):
            raise SettingsError("KAFKA_USERNAME and KAFKA_PASSWORD go together; only one is set")


def load_settings() -> Settings:
    """Read the settings.

    Raises
    ------
    SettingsError
        If a value is wrong; the text names the variable.
    """
    try:
        return Settings()
    except ValidationError as exc:
        raise SettingsError("; ".join(map(_one_line, exc.errors()))) from exc


def _one_line(error: object) -> str:
    location, message, value = error["loc"], error["msg"], error["input"]  # type: ignore[index]
    name = str(location[-1])
    variable = name if name.isupper() else f"BUTLER_WRITER_{name.upper()}"
    return f"{variable}={value!r}: {message}"
