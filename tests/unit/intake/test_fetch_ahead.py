"""What is fetched ahead is bounded over all partitions together (rule bounded-memory)."""

from __future__ import annotations

from app.intake.fetch_ahead import FetchAhead
from app.intake.intake import Intake
from app.intake.received import MESSAGE_OVERHEAD, size_of
from app.intake.windows import WindowBounds

PARTITIONS = [("pp-output", number) for number in range(64)]


def test_what_is_fetched_of_every_partition_counts() -> None:
    ahead = FetchAhead(limit=64 * 100)
    for partition in PARTITIONS[:-1]:
        ahead.hand_over(partition, {7: 100})
        assert ahead.may_fetch
    ahead.buffered = 100
    assert not ahead.may_fetch
    assert ahead.may_hand_over


def test_nothing_more_is_handed_over_until_messages_arrive() -> None:
    ahead = FetchAhead(limit=100)
    ahead.hand_over(PARTITIONS[0], {7: 60, 8: 60})
    assert not ahead.may_hand_over
    ahead.arrived(PARTITIONS[0], 7)
    assert ahead.may_hand_over
    assert ahead.bytes == 60


def test_a_message_counts_once_although_it_is_read_again() -> None:
    ahead = FetchAhead(limit=100)
    ahead.hand_over(PARTITIONS[0], {7: 60})
    ahead.hand_over(PARTITIONS[0], {7: 60})
    ahead.arrived(PARTITIONS[0], 7)
    ahead.arrived(PARTITIONS[0], 7)
    assert ahead.bytes == 0


def test_messages_that_faust_has_dropped_do_not_stop_reading_for_ever() -> None:
    intake: Intake[None] = Intake(WindowBounds(1, 500, bytes=100), 1000, 2, lambda now: now + 1)
    intake.ahead.hand_over(PARTITIONS[0], {7: 100})
    intake.revoke()
    assert intake.ahead.may_fetch
    intake.ahead.hand_over(PARTITIONS[1], {7: 100})  # it was fetched before the revocation
    assert not intake.ahead.may_fetch
    intake.start_at({PARTITIONS[0]: 7})
    assert intake.ahead.may_fetch


def test_a_message_is_no_longer_ahead_once_the_intake_has_it() -> None:
    intake: Intake[None] = Intake(WindowBounds(1, 500, bytes=100), 1000, 2, lambda now: now + 1)
    intake.start_at({PARTITIONS[0]: 7})
    intake.ahead.hand_over(PARTITIONS[0], {7: 60})
    intake.receive(PARTITIONS[0], 7, 60, list)
    assert (intake.ahead.bytes, intake.ledger.bytes_held) == (0, 60)


def test_a_message_counts_with_its_key_its_headers_and_its_overhead() -> None:
    """Otherwise a backlog of messages without a value would have no bound."""
    assert size_of(None, None, ()) == MESSAGE_OVERHEAD
    assert size_of(b"12", b"345", [("six", b"789"), ("x", None)]) == MESSAGE_OVERHEAD + 12
