"""The base of all settings classes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["MIB", "PREFIX", "Bytes", "OptionalTopicName", "Section", "TopicName"]

MIB = 1024 * 1024

#: A size: up to 1 GiB, since Kafka's limits are 32-bit integers.
Bytes = Annotated[int, Field(ge=1, le=1024 * MIB)]

#: A name that Kafka accepts, also with the suffixes of the topics that are named after it.
TopicName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,230}$")]

#: The name of a topic, or nothing.
OptionalTopicName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{0,230}$")]

#: Prefix of the variables that have no other name.
PREFIX = "BUTLER_WRITER_"


class Section(BaseSettings):
    """Settings of one concern, from environment variables; an empty variable counts as unset.

    Attributes
    ----------
    may_be_empty : `frozenset` [`str`]
        Variables for which empty is a value.
    """

    may_be_empty: ClassVar[frozenset[str]] = frozenset()

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=False,  # left to the validator below
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,  # the pages show them
    )

    @model_validator(mode="before")
    @classmethod
    def _ignore_empty(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value for name, value in values.items() if value != "" or name in cls.may_be_empty
        }
