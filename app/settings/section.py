"""The base of all settings classes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["MIB", "PREFIX", "Bytes", "Section", "TopicName"]

MIB = 1024 * 1024

#: A size: up to 1 GiB, since Kafka's limits are 32-bit integers.
Bytes = Annotated[int, Field(ge=1, le=1024 * MIB)]

#: A name that Kafka accepts, also with the suffixes of the topics that are named after it.
TopicName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,230}$")]

#: Prefix of the variables that have no other name.
PREFIX = "BUTLER_WRITER_"


class Section(BaseSettings):
    """Settings of one concern, from environment variables; an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,  # the pages show them
    )
