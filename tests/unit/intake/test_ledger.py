"""The offset ledger (rules acked-in-offset-order, no-gaps-in-offsets)."""

from __future__ import annotations

from app.intake.ledger import Entry, Ledger, Receipt

P = ("pp-output", 0)
Q = ("pp-output", 1)


class Acks(list[tuple[tuple[str, int], int]]):
    """What was acked, in order."""

    def receive(self, ledger: Ledger, offset: int, partition: tuple[str, int] = P) -> Entry:
        receipt, entry = ledger.receive(
            partition, offset, 10, lambda: self.append((partition, offset))
        )
        assert receipt is Receipt.EXPECTED
        assert entry is not None
        return entry


def started_ledger(start: int = 0) -> Ledger:
    ledger = Ledger()
    ledger.start_at({P: start, Q: start})
    return ledger


def test_an_event_is_acked_only_after_all_events_before_it() -> None:
    ledger, acks = started_ledger(), Acks()
    first, second, third = (acks.receive(ledger, offset) for offset in range(3))
    assert len(ledger.settle([second, third])) == 0
    assert acks == []
    assert len(ledger.settle([first])) == 3
    assert acks == [(P, 0), (P, 1), (P, 2)]


def test_partitions_do_not_wait_for_each_other() -> None:
    ledger, acks = started_ledger(), Acks()
    acks.receive(ledger, 0)
    other = acks.receive(ledger, 0, Q)
    ledger.settle([other])
    assert acks == [(Q, 0)]


def test_an_entry_of_an_earlier_epoch_is_never_acked() -> None:
    ledger, acks = started_ledger(), Acks()
    stale = acks.receive(ledger, 0)
    ledger.revoke()
    ledger.start_at({P: 0})
    fresh = acks.receive(ledger, 0)
    assert len(ledger.settle([stale])) == 0
    assert acks == []
    ledger.settle([fresh])
    assert acks == [(P, 0)]


def test_an_entry_settled_twice_is_acked_and_counted_once() -> None:
    ledger, acks = started_ledger(), Acks()
    entry = acks.receive(ledger, 0)
    ledger.settle([entry, entry])
    ledger.settle([entry])
    assert acks == [(P, 0)]
    assert ledger.bytes_held == 0


def test_a_repeated_offset_is_ignored() -> None:
    ledger, acks = started_ledger(), Acks()
    acks.receive(ledger, 0)
    assert ledger.receive(P, 0, 10, acks.clear) == (Receipt.REPEATED, None)
    assert ledger.bytes_held == 10


def test_no_event_is_entered_before_the_starting_offset_is_known() -> None:
    ledger = Ledger()
    assert ledger.receive(P, 5, 10, list) == (Receipt.NOT_STARTED, None)


def test_a_first_event_beyond_the_starting_offset_is_a_jump() -> None:
    assert started_ledger(5).receive(P, 6, 10, list) == (Receipt.JUMPED, None)


def test_a_gap_of_the_log_is_passed_at_once_and_counted() -> None:
    """The events below it stay valid, and are acked before those above it."""
    ledger, acks = started_ledger(), Acks()
    ledger.fetches.note(P, 0, [0, 3], 5)
    below, above = (acks.receive(ledger, offset) for offset in (0, 3))
    assert (ledger.epoch, ledger.accepted_gaps) == (0, 1)
    assert len(ledger.settle([above])) == 0
    assert len(ledger.settle([below])) == 2
    assert acks == [(P, 0), (P, 3)]


def test_fetched_events_that_are_missing_are_never_passed_over() -> None:
    ledger, acks = started_ledger(), Acks()
    for _ in range(3):
        ledger.start_at({P: 0})
        ledger.fetches.note(P, 0, [0, 1, 3], 4)
        acks.receive(ledger, 0)
        assert ledger.receive(P, 3, 10, list) == (Receipt.JUMPED, None)
    assert ledger.accepted_gaps == 0


def test_a_lost_event_behind_a_gap_is_not_taken_for_part_of_it() -> None:
    ledger, acks = started_ledger(), Acks()
    ledger.fetches.note(P, 0, [0, 3, 4], 5)
    acks.receive(ledger, 0)
    assert ledger.receive(P, 4, 10, list) == (Receipt.JUMPED, None)


def test_a_gap_that_is_read_again_is_counted_once() -> None:
    ledger, acks = started_ledger(), Acks()
    for _ in range(2):
        ledger.revoke()
        ledger.start_at({P: 0})
        ledger.fetches.note(P, 0, [3], 4)
        acks.receive(ledger, 3)
    assert ledger.accepted_gaps == 1


def test_a_gap_that_grows_at_the_end_of_the_log_is_counted_once() -> None:
    ledger, acks = started_ledger(), Acks()
    ledger.fetches.note(P, 0, [], 2)
    assert ledger.pass_over_gaps() == {P: 2}
    ledger.fetches.note(P, 2, [4], 5)
    acks.receive(ledger, 4)
    assert ledger.accepted_gaps == 1


def test_a_gap_between_events_is_reported_once_everything_before_it_is_acked() -> None:
    ledger, acks = started_ledger(), Acks()
    ledger.fetches.note(P, 0, [0, 4, 5], 6)
    entries = [acks.receive(ledger, offset) for offset in (0, 4, 5)]
    assert ledger.pass_over_gaps() == {}
    ledger.settle(entries[:2])
    assert ledger.pass_over_gaps() == {P: 5}
    assert ledger.pass_over_gaps() == {}


def test_markers_at_the_end_of_a_partition_are_passed_once_everything_is_acked() -> None:
    ledger, acks = started_ledger(), Acks()
    ledger.fetches.note(P, 0, [0], 1)
    ledger.fetches.note(P, 1, [], 3)
    entry = acks.receive(ledger, 0)
    assert ledger.pass_over_gaps() == {}
    ledger.settle([entry])
    assert ledger.pass_over_gaps() == {P: 3}
    assert ledger.pass_over_gaps() == {}
    assert ledger.state()[P]["acked_to"] == 3


def test_a_partition_that_was_reset_takes_nothing_until_it_starts_anew() -> None:
    """A log that went back has new events at offsets that were received before."""
    ledger, acks = started_ledger(), Acks()
    ledger.fetches.note(P, 0, [0, 1], 2)
    entry = acks.receive(ledger, 0)
    ledger.fetches.note_reset(P)
    assert ledger.receive(P, 1, 10, list) == (Receipt.NOT_STARTED, None)
    assert ledger.drop_reset() == {P}
    assert ledger.drop_reset() == frozenset()
    assert len(ledger.settle([entry])) == 0
    ledger.start_at({P: 0}, [P])
    acks.receive(ledger, 0)


def test_a_jump_drops_all_entries() -> None:
    ledger, acks = started_ledger(), Acks()
    entry = acks.receive(ledger, 0)
    ledger.receive(P, 3, 10, list)
    assert len(ledger.settle([entry])) == 0
    assert acks == []
    assert ledger.bytes_held == 0


def test_a_lost_tail_is_reported_after_2_looks_then_4_then_8() -> None:
    ledger = started_ledger()
    for looks in (2, 4, 8):
        ledger.fetches.note(P, 0, [0, 1, 2], 3)
        assert ledger.missing() == {"pp-output-0": {"expected": 0, "fetched_to": 3}}
        assert [ledger.misses_tail() for _ in range(looks)] == [False] * (looks - 1) + [True]
        ledger.start_at({P: 0, Q: 0})


def test_a_partition_that_makes_progress_misses_no_tail() -> None:
    ledger, acks = started_ledger(), Acks()
    ledger.fetches.note(P, 0, range(9), 9)
    for offset in range(4):
        assert not ledger.misses_tail()
        acks.receive(ledger, offset)


def test_a_partition_that_waits_for_its_turn_in_a_backlog_misses_no_tail() -> None:
    ledger, acks = started_ledger(), Acks()
    ledger.fetches.note(P, 0, range(100), 100)
    ledger.fetches.note(Q, 0, [0], 1)
    for offset in range(100):
        acks.receive(ledger, offset)
        assert not ledger.misses_tail()


def test_a_lost_tail_is_found_while_other_partitions_make_progress() -> None:
    """An event that was fetched after it has arrived."""
    ledger, acks = started_ledger(), Acks()
    ledger.fetches.note(Q, 0, [0], 1)
    ledger.fetches.note(P, 0, [0], 1)
    acks.receive(ledger, 0)
    assert not ledger.misses_tail()
    ledger.fetches.note(P, 1, [1], 2)
    acks.receive(ledger, 1)
    assert ledger.misses_tail()


def test_markers_at_the_end_of_the_log_are_no_lost_tail() -> None:
    ledger = started_ledger()
    ledger.fetches.note(P, 0, [], 2)
    assert not any(ledger.misses_tail() for _ in range(5))


def test_the_lag_counts_the_messages_after_the_acked_offset() -> None:
    ledger, acks = started_ledger(7), Acks()
    assert ledger.lags({P: 7, Q: 7}) == {P: 0, Q: 0}
    entries = [acks.receive(ledger, offset) for offset in (7, 8, 9)]
    assert ledger.lags({P: 12, Q: 7}) == {P: 5, Q: 0}
    ledger.settle(entries[1:])
    assert ledger.lags({P: 12, Q: 7}) == {P: 5, Q: 0}
    ledger.settle(entries[:1])
    assert ledger.lags({P: 12, Q: 7}) == {P: 2, Q: 0}
    ledger.revoke()
    assert ledger.lags({P: 12, Q: 7}) == {}


def test_the_lag_does_not_count_offsets_at_which_the_log_holds_no_message() -> None:
    ledger, acks = started_ledger(), Acks()
    ledger.fetches.note(P, 0, [0, 3], 6)  # gaps at 1, 2, 4 and 5
    assert ledger.lags({P: 6}) == {P: 2, Q: 0}
    first = acks.receive(ledger, 0)
    assert ledger.lags({P: 6}) == {P: 2, Q: 0}
    last = acks.receive(ledger, 3)
    assert ledger.lags({P: 6}) == {P: 2, Q: 0}
    ledger.settle([first, last])
    assert ledger.lags({P: 6}) == {P: 0, Q: 0}
    assert ledger.lags({P: 7}) == {P: 1, Q: 0}, "what was not fetched may be a message"
    ledger.pass_over_gaps()
    assert ledger.lags({P: 6}) == {P: 0, Q: 0}


def test_the_lag_is_right_if_the_known_end_of_the_log_is_outdated() -> None:
    ledger, acks = started_ledger(), Acks()
    ledger.fetches.note(P, 0, [0, 1, 2], 3)
    acks.receive(ledger, 0)
    assert ledger.lags({P: 0}) == ledger.lags({}) == {P: 3, Q: 0}


def test_the_oldest_event_is_the_first_that_is_not_acked() -> None:
    ledger = started_ledger()
    assert ledger.oldest() == {P: None, Q: None}
    _, first = ledger.receive(P, 0, 10, list, now=5.0)
    _, second = ledger.receive(P, 1, 10, list, now=6.0)
    assert first is not None
    assert second is not None
    assert ledger.oldest() == {P: 5.0, Q: None}
    ledger.settle([second])
    assert ledger.oldest() == {P: 5.0, Q: None}
    ledger.settle([first])
    assert ledger.oldest() == {P: None, Q: None}


def test_the_state_has_the_offsets_that_a_partition_has_reached() -> None:
    ledger, acks = started_ledger(7), Acks()
    entries = [acks.receive(ledger, offset) for offset in (7, 8, 9)]
    ledger.settle(entries[:1])
    assert ledger.state()[P] == {"start": 7, "expected": 10, "held": 2, "acked_to": 8}
