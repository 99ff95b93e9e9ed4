"""Messages of every hostile kind end in a dead letter or are accepted, each in little time.

Another process decodes and prepares them: some of these messages ended it with a segmentation fault
before regions were checked.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fuzzing import fuzz
from tests.support.repositories import Repository


@pytest.mark.parametrize(
    ("seed", "number"),
    [(1, 3000), pytest.param(2, 20_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_hostile_messages_cost_little_and_none_ends_the_process(
    sqlite_repository: Repository, tmp_path: Path, seed: int, number: int
) -> None:
    found = fuzz(sqlite_repository.root, tmp_path, seed, number)
    print(found)
    found.check(number)
