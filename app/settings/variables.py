"""The environment variables of the settings, and mistakes in them that a type cannot find."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.butler.policy import Expression
from app.settings.section import PREFIX, Section

__all__ = ["mistyped_variables", "setting_variables"]

#: Variables that may have any text: a secret, and one for which a wrong text is only a warning.
_ANY_TEXT = frozenset({"KAFKA_PASSWORD", "WRITER_DEBUG_LEVEL"})

#: A list whose members are stripped.
_STRIPPED = "KAFKA_CLUSTER"

_COMMENT = re.compile(r"\s#")


def setting_variables(sections: Mapping[str, Section]) -> Iterator[tuple[str, object]]:
    """Yield the variable of each setting, and the setting's value.

    Parameters
    ----------
    sections : `~collections.abc.Mapping` [`str`, `Section`]
        All sections of the settings.
    """
    for section in sections.values():
        for name, field in type(section).model_fields.items():
            yield str(field.validation_alias or f"{PREFIX}{name.upper()}"), getattr(section, name)


def mistyped_variables(
    environment: Mapping[str, str], sections: Mapping[str, Section]
) -> Iterator[str]:
    """Describe values with quotes, a comment or spaces, each in one line with the remedy.

    A shell removes them from a file of variables.  Docker and Kubernetes do not: a quoted regular
    expression, for example, would match nothing.

    Parameters
    ----------
    environment : `~collections.abc.Mapping` [`str`, `str`]
        The environment variables.
    sections : `~collections.abc.Mapping` [`str`, `Section`]
        All sections of the settings that were read from them.

    Yields
    ------
    reason : `str`
        Such as ``BUTLER_REPOSITORY='"/repo"': ...``.
    """
    settings = dict(setting_variables(sections))
    for name, value in environment.items():
        variable = name.upper()  # as the settings read them
        if variable not in settings or variable in _ANY_TEXT or not value:
            continue
        is_text = isinstance(settings[variable], str | Path | Expression)
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            yield f"{name}={value!r}: the quotes are part of the value; remove them"
        elif _COMMENT.search(value):
            yield f"{name}={value!r}: the comment is part of the value; remove it"
        elif is_text and variable != _STRIPPED and value != value.strip():
            yield f"{name}={value!r}: the value begins or ends with a space or a newline; remove it"
