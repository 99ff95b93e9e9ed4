"""The settings of this worker, without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.butler.policy import Expression
from app.printable import without_logins
from app.settings import Settings
from app.settings.section import PREFIX, Section

__all__ = ["SettingDocument", "SettingsDocument", "settings_document"]

#: A name without a password in a URI, which may be a secret itself.
_NAME = re.compile(r"(?<=://)[^/\s]*@")

#: What the sections are about.
_TITLES = {
    "kafka": "Kafka",
    "windows": "Windows",
    "write": "Butler write",
    "limits": "Limits on an event",
    "downstream": "Downstream repository",
    "service": "Worker process",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDocument:
    """One setting.

    Attributes
    ----------
    variable : `str`
        The environment variable.
    value : `str`
        Its value, or the default; secrets are hidden.
    is_default : `bool`
        Whether the variable is not set.
    meaning : `str`
        What it does.
    """

    section: str
    variable: str
    value: str
    is_default: bool
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsDocument:
    """The settings of one worker."""

    worker: str
    settings: Sequence[SettingDocument]


def settings_document(worker: str, settings: Settings) -> SettingsDocument:
    """Return the settings of this worker."""
    return SettingsDocument(worker=worker, settings=list(_settings(settings)))


def _settings(settings: Settings) -> Iterator[SettingDocument]:
    sections: dict[str, Section] = vars(settings)
    for key, section in sections.items():
        for name, field in type(section).model_fields.items():
            yield SettingDocument(
                section=_TITLES.get(key, key),
                variable=str(field.validation_alias or f"{PREFIX}{name.upper()}"),
                value=_shown(getattr(section, name)),
                is_default=name not in section.model_fields_set,
                meaning=_meaning(field),
            )


def _shown(value: object) -> str:
    """Return a value as text, as it would be set."""
    match value:
        case None:
            shown = ""
        case SecretStr():
            shown = "(set, and not shown)"
        case bool():
            shown = str(value).lower()
        case Enum():
            shown = str(value.value)
        case Expression(pattern=pattern):
            shown = pattern
        case tuple() | list():
            shown = ",".join(map(_shown, value))
        case float():
            shown = f"{value:g}"
        case _:
            shown = _NAME.sub("...@", without_logins(str(value)))
    return shown


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").replace("`", "").split())
