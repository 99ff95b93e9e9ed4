"""What a commit tells about the last message before it (rule no-gaps-in-offsets)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intake.evidence import ReadEvidence, as_metadata, from_metadata
from app.intake.suspects import ReadMessage

P = ("pp-output", 0)


def read(*offsets: int, log: int = 0) -> list[ReadMessage]:
    return [ReadMessage(offset, 1000 * log + offset, offset) for offset in offsets]


@given(
    offset=st.integers(0, 2**63 - 1),
    timestamp=st.integers(-1, 2**63 - 1),
    digest=st.integers(0, 2**32 - 1),
)
def test_a_message_is_read_back_from_a_commits_metadata(
    offset: int, timestamp: int, digest: int
) -> None:
    message = ReadMessage(offset, timestamp, digest)
    metadata = as_metadata(message)
    assert len(metadata) < 100
    assert from_metadata(metadata, offset + 1) == message


@pytest.mark.parametrize("metadata", ["", "another service's", "read 1 2", "read 1 2 0000000g"])
def test_other_metadata_tells_nothing(metadata: str) -> None:
    assert from_metadata(metadata, 5) is None


def test_a_message_behind_the_committed_offset_tells_nothing() -> None:
    assert from_metadata(as_metadata(ReadMessage(5, 1000, 1)), 5) is None


def test_a_commit_names_the_last_message_before_its_offset() -> None:
    evidence = ReadEvidence()
    assert evidence.before(P, 3) is None
    evidence.read(P, read(0, 1, 2, 5, 6))
    assert evidence.before(P, 2) == read(1)[0]
    assert evidence.before(P, 4) == read(2)[0]  # 3 and 4 are markers of transactions
    assert evidence.before(P, 4) == read(2)[0]
    assert evidence.before(P, 7) == read(6)[0]
    assert evidence.before(P, 9) == read(6)[0]


def test_nothing_is_read_before_the_first_offset() -> None:
    evidence = ReadEvidence()
    evidence.read(P, read(0, 1))
    assert evidence.before(P, 0) is None


def test_messages_that_are_read_again_replace_the_former_ones() -> None:
    evidence = ReadEvidence()
    evidence.read(P, read(0, 1, 2, 3))
    evidence.read(P, read(1, 2, log=1))
    assert evidence.before(P, 3) == read(2, log=1)[0]
    assert evidence.before(P, 4) == read(2, log=1)[0]


def test_a_partition_that_starts_has_what_its_commit_tells() -> None:
    evidence = ReadEvidence()
    evidence.read(P, read(0, 1, 2))
    evidence.start(P, read(7)[0])
    assert evidence.before(P, 8) == read(7)[0]
    evidence.read(P, read(8, 9))
    assert evidence.before(P, 9) == read(8)[0]
    evidence.start(P, None)
    assert evidence.before(P, 9) is None
