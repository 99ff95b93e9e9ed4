"""All settings together."""

from __future__ import annotations

import os
import re
from itertools import combinations
from pathlib import Path

from pydantic import ValidationError

from app.errors import OperatorError
from app.settings.butler import ButlerSettings
from app.settings.downstream import DownstreamSettings, ReplicaKafkaSettings
from app.settings.kafka import KafkaSettings
from app.settings.limits import LimitSettings
from app.settings.section import PREFIX
from app.settings.service import ServiceSettings
from app.settings.variables import mistyped_variables
from app.settings.windows import ReplicaWindowSettings, WindowSettings

__all__ = ["Settings", "SettingsError", "load_settings"]

#: Seconds that a step may take besides the copies of staged artifacts.
_STAGING_MARGIN = 60.0

#: Characters of a wrong value that its error shows.
_LONGEST_VALUE = 100

#: A name and a password before a host.
_LOGIN = re.compile(r"[^/@\s]:[^@]*@")

#: What to do about values of a wrong type.
_REMEDIES = {
    "bool_parsing": "set it to true or false",
    "float_parsing": "give a number alone, such as 30: no unit, no comment, no quotes",
    "int_parsing": "give a whole number alone, such as 30: no unit, no comment, no quotes",
    "string_pattern_mismatch": "use up to 230 letters, digits, '.', '_' and '-'",
}


class SettingsError(OperatorError):
    """A setting is missing or wrong."""


class Settings:
    """All settings, by concern.

    Raises
    ------
    pydantic.ValidationError
        If a value is wrong; see `load_settings`.
    """

    def __init__(self) -> None:
        self.kafka = KafkaSettings()
        self.windows: WindowSettings = WindowSettings()
        self.write = ButlerSettings()
        self.limits = LimitSettings()
        self.downstream = DownstreamSettings()
        self.service = ServiceSettings()
        if self.downstream.is_replica:
            target = self.downstream.target_of(self.write.repository)
            self.kafka = ReplicaKafkaSettings.of(self.kafka, target)
            self.windows = ReplicaWindowSettings()

    def require_connections(self) -> None:
        """Check that all variables are set that a worker needs to connect.

        Raises
        ------
        SettingsError
            If a variable is not set; the text names all of them.
        """
        required: dict[str, object] = {
            "BUTLER_REPOSITORY": self.write.repository,
            "KAFKA_CLUSTER": self.kafka.cluster,
            "KAFKA_TOPIC": "topic" in self.kafka.model_fields_set,
        }
        if self.kafka.announces:
            required |= {
                "KAFKA_OUTPUT_TOPIC": "output_topic" in self.kafka.model_fields_set,
                "OUTPUT_DATASET_LIST_DIRECTORY": self.write.dataset_list_directory,
            }
        if self.downstream.requires_source:
            required["BUTLER_WRITER_SOURCE_ROOT"] = self.downstream.source_root
        if missing := [name for name, value in required.items() if not value]:
            raise SettingsError(f"not set: {', '.join(missing)}")
        if (self.kafka.username is None) != (self.kafka.password is None):
            raise SettingsError("KAFKA_USERNAME and KAFKA_PASSWORD go together; only one is set")
        for (one, name), (other, same) in combinations(self.kafka.topic_names.items(), 2):
            if name == same:
                raise SettingsError(
                    f"{one} and {other} are both {name!r}: each needs a topic of its own; set one "
                    "of them to another name"
                )

    @property
    def data_directory(self) -> Path:
        """Faust's own files; each downstream repository has a folder of its own."""
        folder = self.service.data_directory
        return folder / self.kafka.group if self.downstream.is_replica else folder

    @property
    def step_max_seconds(self) -> float:
        """Seconds after which a step ends the process; staged artifacts may take their time."""
        longest = self.service.step_max_seconds
        if self.write.staging_roots or self.downstream.requires_source:
            longest = max(longest, self.write.staging_timeout + _STAGING_MARGIN)
        return longest


def load_settings() -> Settings:
    """Read the settings.

    Raises
    ------
    SettingsError
        If a value is wrong; the text names the variable.
    """
    try:
        settings = Settings()
    except ValidationError as exc:
        raise SettingsError("; ".join(map(_one_line, exc.errors()))) from exc
    if mistyped := list(mistyped_variables(os.environ, vars(settings))):
        raise SettingsError("; ".join(mistyped))
    return settings


def _one_line(error: object) -> str:
    location, message, value = error["loc"], error["msg"], error["input"]  # type: ignore[index]
    name = str(location[-1])
    variable = name if name.isupper() else f"{PREFIX}{name.upper()}"
    message = message.removeprefix("Value error, ")
    if remedy := _REMEDIES.get(error["type"]):  # type: ignore[index]
        message = f"{message}; {remedy}"
    is_secret = variable == "KAFKA_PASSWORD" or _LOGIN.search(str(value))
    shown = "..." if is_secret else repr(value)
    if len(shown) > _LONGEST_VALUE:
        shown = f"{shown[:_LONGEST_VALUE]}..."
    return f"{variable}={shown}: {message}"
