"""The changelog's fragments can be collected, and say something."""

from __future__ import annotations

from pathlib import Path

import pytest
from scriv.config import Config
from scriv.format_md import MdTools

from testbed.worker import CHECKOUT

FRAGMENTS = sorted((CHECKOUT / "changelog.d").glob("[0-9]*.md"))


@pytest.fixture(autouse=True)
def _in_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration is read from the working folder."""
    monkeypatch.chdir(CHECKOUT)


def faults(text: str) -> list[str]:
    """Return what is wrong with a fragment."""
    config = Config.read()
    categories = MdTools(config).parse_text(text)
    found = [f"not a category: {name}" for name in categories if name not in config.categories]
    changes = [change for each in categories.values() for change in each]
    found += [f"not an item of a list: {each}" for each in changes if not each.startswith("- ")]
    return found if changes else [*found, "no change"]


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda path: path.stem)
def test_a_fragment_is_well_formed(fragment: Path) -> None:
    assert faults(fragment.read_text()) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no change"),
        ("### Fixed\n", "no change"),
        ("### Improved\n\n- A change.\n", "not a category: Improved"),
        ("- A change.\n", "not a category: None"),
        ("### Fixed\n\nA change.\n", "not an item of a list: A change."),
        ("<!--\n### Fixed\n\n- A change.\n-->\n", "no change"),
    ],
)
def test_a_fragment_with_a_fault_is_noticed(text: str, fault: str) -> None:
    assert fault in faults(text)
