"""An option that is an age."""

from __future__ import annotations

import re
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import click

__all__ = ["Age"]


class Age(click.ParamType):
    """A number of up to five digits, and its unit: ``90m``, ``12h``, ``1d``."""

    name = "age"
    _UNITS = MappingProxyType({"m": "minutes", "h": "hours", "d": "days"})

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        """Return the age."""
        if not (match := re.fullmatch(r"(\d{1,5})([mhd])", value)):
            reason = f"{value!r} is not an age of up to five digits, such as 90m, 12h or 1d"
            self.fail(reason, param, ctx)
        return timedelta(**{self._UNITS[match[2]]: int(match[1])})
