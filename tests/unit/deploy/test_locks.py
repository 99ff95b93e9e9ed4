"""The lock files agree with each other, and name no server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed.worker import CHECKOUT
from tests.support.locks import pins

LOCKS = sorted(CHECKOUT.glob("requirements*.lock"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_has_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index-url" not in text
    packages = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert len(packages) == len(pins(lock)) > 10
    assert [each for each in packages if "--hash=sha256:" not in each] == []


def test_the_locks_have_the_same_versions() -> None:
    build, development, service = map(pins, LOCKS)
    assert build <= development
    assert service <= development
    assert {"cyclonedx-bom", "setuptools"} <= {name for name, _ in build}
