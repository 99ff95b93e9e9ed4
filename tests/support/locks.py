"""The lock files, as tests read them."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["pins"]

_PIN = re.compile(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", re.MULTILINE)


def pins(lock: Path) -> set[tuple[str, str]]:
    """Return each package with its version; it may have another one on another Python."""
    return set(_PIN.findall(lock.read_text()))
