"""Hostile messages for as long as one likes (``make fuzz``)."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.support.events import make_repository
from tests.support.fuzzing import fuzz

#: How many messages one process gets.
AT_ONCE = 3000


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_hostile_messages_do_no_harm_for_as_long_as_one_likes(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    make_repository(tmp_path / "repository").close()
    seed = request.config.getoption("--seed") or random.SystemRandom().randrange(1, 10**6)
    end = time.monotonic() + 60 * request.config.getoption("--minutes")
    number = 0
    while time.monotonic() < end:
        print(f"seed {seed}, {number} messages so far", flush=True)
        fuzz(tmp_path / "repository", tmp_path, seed, AT_ONCE).check(AT_ONCE)
        seed, number = seed + 1, number + AT_ONCE
    assert number, "no time for any message"
