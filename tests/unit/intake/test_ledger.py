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
    assert ledger.settle([second, third]) == 0
    assert acks == []
    assert ledger.settle([first]) == 3
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
    assert ledger.settle([stale]) == 0
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


def test_a_jump_that_is_gone_after_reading_again_is_not_counted() -> None:
    ledger, acks = started_ledger(), Acks()
    acks.receive(ledger, 0)
    assert ledger.receive(P, 3, 10, list) == (Receipt.JUMPED, None)
    ledger.start_at({P: 0})
    for offset in range(4):
        acks.receive(ledger, offset)
    assert ledger.accepted_gaps == 0


def test_a_jump_that_stays_is_accepted_and_counted() -> None:
    ledger, acks = started_ledger(), Acks()
    assert ledger.receive(P, 3, 10, list) == (Receipt.JUMPED, None)
    ledger.start_at({P: 0})
    entry = acks.receive(ledger, 3)
    assert ledger.accepted_gaps == 1
    ledger.settle([entry])
    assert acks == [(P, 3)]


def test_a_gap_that_is_read_again_is_counted_once() -> None:
    ledger, acks = started_ledger(), Acks()
    ledger.receive(P, 3, 10, list)
    for _ in range(2):
        ledger.start_at({P: 0})
        acks.receive(ledger, 3)
    assert ledger.accepted_gaps == 1


def test_a_later_jump_is_refused_once_as_well() -> None:
    ledger, acks = started_ledger(), Acks()
    ledger.receive(P, 3, 10, list)
    ledger.start_at({P: 0})
    acks.receive(ledger, 3)
    assert ledger.receive(P, 9, 10, list) == (Receipt.JUMPED, None)


def test_a_jump_found_again_after_a_rebalance_is_refused_again() -> None:
    ledger = started_ledger()
    ledger.receive(P, 3, 10, list)
    ledger.revoke()
    ledger.start_at({P: 0})
    assert ledger.receive(P, 3, 10, list) == (Receipt.JUMPED, None)


def test_a_jump_drops_all_entries() -> None:
    ledger, acks = started_ledger(), Acks()
    entry = acks.receive(ledger, 0)
    ledger.receive(P, 3, 10, list)
    assert ledger.settle([entry]) == 0
    assert acks == []
    assert ledger.bytes_held == 0


def test_a_lost_tail_is_reported_after_2_checks_then_4_then_8() -> None:
    ledger = started_ledger()
    ends = {P: 3, Q: 0}
    for checks in (2, 4, 8):
        assert [ledger.misses_tail(ends) for _ in range(checks)] == [False] * (checks - 1) + [True]
        ledger.start_at({P: 0, Q: 0})


def test_a_partition_that_makes_progress_misses_no_tail() -> None:
    ledger, acks = started_ledger(), Acks()
    for offset in range(4):
        assert not ledger.misses_tail({P: 9})
        acks.receive(ledger, offset)


def test_the_state_has_the_offsets_that_a_partition_has_reached() -> None:
    ledger, acks = started_ledger(7), Acks()
    entries = [acks.receive(ledger, offset) for offset in (7, 8, 9)]
    ledger.settle(entries[:1])
    assert ledger.state()[P] == {"start": 7, "expected": 10, "held": 2, "acked_to": 8}
