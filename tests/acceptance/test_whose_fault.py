"""Bad events and faults of the database at the same time, in many combinations."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, given, settings

from tests.support.events import make_repository
from tests.support.faulty_writes import FAULTS, LIMITED_MEMORY, check_whose_fault, moments, windows
from tests.support.repositories import Repository


@pytest.mark.postgresql
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_bad_events_hold_up_no_good_one_and_faults_reject_none_in_200_combinations(
    postgresql_url: str, tmp_path: Path
) -> None:
    make_repository(tmp_path / "repository", database=postgresql_url).close()
    repository = Repository(tmp_path / "repository")
    writer = repository.writer(lock_timeout=2)

    @settings(max_examples=200, phases=[Phase.explicit, Phase.generate])
    @given(windows(), st.sampled_from([*FAULTS]), moments())
    def check(kinds: list[str], fault: str, when: tuple[int, int]) -> None:
        check_whose_fault(repository, writer, kinds, FAULTS[fault], when)

    with LIMITED_MEMORY(repository):
        check()
    repository.close()
