"""Messages of every hostile kind end in a dead letter or are accepted, each in little time.

Another process decodes and prepares them: some of these messages ended it with a segmentation fault
before regions were checked.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.hostile.lines import LINES
from tests.support.fuzzing import fuzz
from tests.support.hostile import KIND_OF_LINE, KINDS
from tests.support.repositories import Repository


@pytest.mark.parametrize("seed", range(1, 6))
def test_hostile_messages_cost_little_and_none_ends_the_process(
    sqlite_repository: Repository, tmp_path: Path, seed: int
) -> None:
    """Together these are 20,000; `make fuzz` goes on for as long as one likes."""
    number = 4000
    found = fuzz(sqlite_repository.root, tmp_path, seed, number)
    print(found)
    found.check(number)
    # Each kind is generated often.
    assert found.kinds.keys() == {kind.__name__ for kind in KINDS}
    assert min(found.kinds.values()) > number / len(KINDS) / 2


def test_every_line_of_the_hostile_messages_has_its_kind() -> None:
    assert KIND_OF_LINE.keys() == {line.name for line in LINES}
    assert {*KIND_OF_LINE.values()} < {kind.__name__ for kind in KINDS}
