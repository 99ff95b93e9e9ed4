"""The base of all settings classes."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["MIB", "PREFIX", "Section"]

MIB = 1024 * 1024

#: Prefix of the variables that have no other name.
PREFIX = "BUTLER_WRITER_"


class Section(BaseSettings):
    """Settings of one concern, from environment variables; an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore"
    )
