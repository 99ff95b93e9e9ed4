"""Finds variables that have no effect, such as those whose name is misspelt."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from app.settings.composition import Settings
from app.settings.section import PREFIX
from app.settings.variables import setting_variables

__all__ = ["doubtful_variables"]

#: Variables that Kubernetes sets in every pod if there is a service called ``butler-writer``.
_OF_KUBERNETES = re.compile(rf"{PREFIX}(SERVICE_(HOST|PORT).*|PORT(_\d+_.*)?)")


def doubtful_variables(environment: Mapping[str, str], settings: Settings) -> Iterator[str]:
    """Describe the variables that have no effect, each in one line with the remedy.

    Parameters
    ----------
    environment : `~collections.abc.Mapping` [`str`, `str`]
        The environment variables.
    settings : `Settings`
        The settings that were read from them.

    Yields
    ------
    reason : `str`
        Such as ``BUTLER_WRITER_WINDOW_SECOND is unknown; did you mean ...?``.
    """
    known = {name for name, _ in setting_variables(vars(settings))}
    # Without the prefix, which would make any two names similar.
    names = [name.removeprefix(PREFIX) for name in known if name.startswith(PREFIX)]
    for name in sorted(environment):
        upper = name.upper()  # as the settings read them
        if upper.startswith(PREFIX) and upper not in known and not _OF_KUBERNETES.fullmatch(upper):
            similar = get_close_matches(upper.removeprefix(PREFIX), names, 1)
            remedy = f"did you mean {PREFIX}{similar[0]}?" if similar else "remove it"
            yield f"{name} is unknown and has no effect; {remedy}"
    level = settings.service.debug_level
    if level.upper() not in logging.getLevelNamesMapping():
        yield (
            f"WRITER_DEBUG_LEVEL={level!r} is unknown, INFO is used; set DEBUG, INFO, WARNING, "
            "ERROR or CRITICAL"
        )
