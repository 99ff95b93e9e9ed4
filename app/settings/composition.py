"""All settings together."""

from __future__ import annotations

from pydantic import ValidationError

from app.errors import OperatorError
from app.settings.butler import ButlerSettings
from app.settings.kafka import KafkaSettings
from app.settings.section import PREFIX
from app.settings.service import ServiceSettings
from app.settings.windows import WindowSettings

__all__ = ["Settings", "SettingsError", "load_settings"]

#: Seconds that a step may take besides the copies of staged artifacts.
_STAGING_MARGIN = 60.0

#: Characters of a wrong value that its error shows.
_LONGEST_VALUE = 100


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
        self.windows = WindowSettings()
        self.write = ButlerSettings()
        self.service = ServiceSettings()

    def require_connections(self) -> None:
        """Check that all variables are set that a worker needs to connect.

        Raises
        ------
        SettingsError
            If a variable is not set; the text names all of them.
        """
        required = {
            "BUTLER_REPOSITORY": self.write.repository,
            "KAFKA_CLUSTER": self.kafka.cluster,
            "KAFKA_TOPIC": "topic" in self.kafka.model_fields_set,
            "KAFKA_OUTPUT_TOPIC": "output_topic" in self.kafka.model_fields_set,
            "OUTPUT_DATASET_LIST_DIRECTORY": self.write.dataset_list_directory,
        }
        if missing := [name for name, value in required.items() if not value]:
            raise SettingsError(f"not set: {', '.join(missing)}")
        if (self.kafka.username is None) != (self.kafka.password is None):
            raise SettingsError("KAFKA_USERNAME and KAFKA_PASSWORD go together; only one is set")
        if self.kafka.topic == self.kafka.output_topic:
            raise SettingsError(
                f"KAFKA_TOPIC and KAFKA_OUTPUT_TOPIC are both {self.kafka.topic!r}: announcements "
                "would be read as events; set one of them to another topic"
            )
        given = {"KAFKA_TOPIC": self.kafka.topic, "KAFKA_OUTPUT_TOPIC": self.kafka.output_topic}
        for name, topic in given.items():
            if topic in self.kafka.own_topics:
                raise SettingsError(
                    f"{name}={topic!r} is a topic of the worker's own; set it to another topic"
                )

    @property
    def step_max_seconds(self) -> float:
        """Seconds after which a step ends the process; staged artifacts may take their time."""
        longest = self.service.step_max_seconds
        if self.write.staging_roots:
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
        return Settings()
    except ValidationError as exc:
        raise SettingsError("; ".join(map(_one_line, exc.errors()))) from exc


def _one_line(error: object) -> str:
    location, message, value = error["loc"], error["msg"], error["input"]  # type: ignore[index]
    name = str(location[-1])
    variable = name if name.isupper() else f"{PREFIX}{name.upper()}"
    shown = repr(value)
    if len(shown) > _LONGEST_VALUE:
        shown = f"{shown[:_LONGEST_VALUE]}..."
    return f"{variable}={shown}: {message}"
