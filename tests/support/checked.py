"""What the checks of the command ``check`` find, without the command."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from app.operations.checks.items import Item, Verdict
from app.settings import Settings, load_settings

__all__ = ["item_named", "settings_from", "wrong_items"]


@contextmanager
def settings_from(environment: Mapping[str, str]) -> Iterator[Settings]:
    """Return the settings that variables give; only these of the service are set meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("BUTLER_", "KAFKA_", "OUTPUT_")):
                patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield load_settings()


def wrong_items(items: Iterable[Item]) -> list[Item]:
    """Return the items that are wrong."""
    return [item for item in items if item.verdict is Verdict.WRONG]


def item_named(items: Iterable[Item], name: str) -> Item:
    """Return the item of a name."""
    (found,) = [item for item in items if item.name == name]
    return found
