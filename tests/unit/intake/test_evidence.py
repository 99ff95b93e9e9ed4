"""What a commit tells about the log that was read (rule no-gaps-in-offsets)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.intake.evidence import CommitEvidence, ReadEvidence, as_metadata, from_metadata
from app.intake.suspects import ReadMessage

P = ("pp-output", 0)


def read(*offsets: int, log: int = 0) -> list[ReadMessage]:
    return [ReadMessage(offset, 1000 * log + offset, offset) for offset in offsets]


@given(
    offset=st.integers(0, 2**63 - 1),
    timestamp=st.integers(-1, 2**63 - 1),
    digest=st.integers(0, 2**32 - 1),
    topic_id=st.none() | st.uuids().map(lambda found: found.hex),
)
def test_evidence_is_read_back_from_a_commits_metadata(
    offset: int, timestamp: int, digest: int, topic_id: str | None
) -> None:
    for last in (ReadMessage(offset, timestamp, digest), None):
        evidence = CommitEvidence(last, topic_id)
        metadata = as_metadata(evidence)
        assert len(metadata) < 120
        assert from_metadata(metadata, offset + 1) == evidence


def test_the_metadata_of_an_earlier_release_tells_the_message() -> None:
    message = ReadMessage(4, 1000, 1)
    assert from_metadata("read 4 1000 00000001", 5) == CommitEvidence(message)


@pytest.mark.parametrize(
    "metadata", ["", "another service's", "read 1 2", "read 1 2 0000000g", "topic a"]
)
def test_other_metadata_tells_nothing(metadata: str) -> None:
    assert from_metadata(metadata, 5) == CommitEvidence()


def test_a_message_behind_the_committed_offset_tells_nothing() -> None:
    metadata = as_metadata(CommitEvidence(ReadMessage(5, 1000, 1)))
    assert from_metadata(metadata, 5) == CommitEvidence()


def test_a_commit_names_the_last_message_before_its_offset() -> None:
    evidence = ReadEvidence()
    assert evidence.of_commit(P, 3).last is None
    evidence.read(P, read(0, 1, 2, 5, 6))
    assert evidence.of_commit(P, 2).last == read(1)[0]
    assert evidence.of_commit(P, 4).last == read(2)[0]  # 3 and 4 are markers of transactions
    assert evidence.of_commit(P, 4).last == read(2)[0]
    assert evidence.of_commit(P, 7).last == read(6)[0]
    assert evidence.of_commit(P, 9).last == read(6)[0]


def test_nothing_is_read_before_the_first_offset() -> None:
    evidence = ReadEvidence()
    evidence.read(P, read(0, 1))
    assert evidence.of_commit(P, 0).last is None


def test_messages_that_are_read_again_replace_the_former_ones() -> None:
    evidence = ReadEvidence()
    evidence.read(P, read(0, 1, 2, 3))
    evidence.read(P, read(1, 2, log=1))
    assert evidence.of_commit(P, 3).last == read(2, log=1)[0]
    assert evidence.of_commit(P, 4).last == read(2, log=1)[0]


def test_a_partition_that_starts_has_what_its_commit_tells() -> None:
    evidence = ReadEvidence()
    evidence.read(P, read(0, 1, 2))
    evidence.start(P, read(7)[0])
    assert evidence.of_commit(P, 8).last == read(7)[0]
    evidence.read(P, read(8, 9))
    assert evidence.of_commit(P, 9).last == read(8)[0]
    evidence.start(P, None)
    assert evidence.of_commit(P, 9).last is None


def test_a_commit_names_the_topic_that_is_read() -> None:
    evidence = ReadEvidence()
    evidence.topic_id = "a" * 32
    assert evidence.of_commit(P, 0) == CommitEvidence(None, "a" * 32)
