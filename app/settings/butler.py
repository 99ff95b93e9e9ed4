"""Settings of the Butler write."""

from __future__ import annotations

from types import MappingProxyType

from lsst.resources import ResourcePath
from pydantic import AliasGenerator, field_validator
from pydantic_settings import SettingsConfigDict

from app.butler.policy import Seconds, WritePolicy
from app.settings.section import PREFIX, Section

__all__ = ["ButlerSettings"]

#: Variables that are not called by the name of the setting.
_VARIABLES = MappingProxyType(
    {
        "repository": "BUTLER_REPOSITORY",
        "dataset_list_directory": "OUTPUT_DATASET_LIST_DIRECTORY",
        "write_method": "BUTLER_WRITER_WRITE_PATH",
    }
)


def _variable(name: str) -> str:
    return _VARIABLES.get(name, f"{PREFIX}{name.upper()}")


class ButlerSettings(Section, WritePolicy):
    """The repository, and the operator's choices for the Butler write."""

    model_config = SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=_variable),
        enable_decoding=False,  # no value is JSON
    )
    may_be_empty = frozenset({"BUTLER_WRITER_CHAIN_PATTERN"})

    repository: str | None = None
    """Path, URI or alias of the Butler repository."""
    dataset_list_directory: str | None = None
    """Directory (any ``lsst.resources`` URI) for the lists of written datasets."""
    announce_unobserved: bool = True
    """Whether datasets without visit, exposure or group are announced too."""
    retry_wait_max: Seconds = 30.0
    """Longest wait in seconds between two attempts while a dependency is unavailable."""

    @field_validator("dataset_list_directory")
    @classmethod
    def _check_uri(cls, value: str | None) -> str | None:
        try:
            ResourcePath(value or "", forceDirectory=True)
        except NotImplementedError as exc:
            raise ValueError(str(exc)) from exc
        return value
