"""Which partitions an open transaction holds back (rule read-committed)."""

from __future__ import annotations

from app.kafka.open_transactions import OPEN_SECONDS, HeldBack

P = ("pp-output", 0)
Q = ("pp-output", 1)


def test_an_open_transaction_is_reported_once_after_10_s() -> None:
    held = HeldBack()
    offsets = {P: (3, 5), Q: (7, 7)}
    assert held.look(0, offsets) == []
    assert held.look(OPEN_SECONDS - 1, offsets) == []
    assert held.longest == 0
    assert held.look(OPEN_SECONDS, offsets) == [P]
    assert held.look(OPEN_SECONDS + 5, offsets) == []
    assert held.longest == OPEN_SECONDS + 5


def test_the_metric_is_0_again_when_the_transaction_ends() -> None:
    held = HeldBack()
    held.look(0, {P: (3, 5)})
    held.look(20, {P: (3, 5)})
    assert held.look(25, {P: (6, 6)}) == []
    assert held.longest == 0


def test_short_transactions_one_after_another_are_not_reported() -> None:
    held = HeldBack()
    for second in range(40):
        assert held.look(second, {P: (second, second + 2)}) == []


def test_a_second_open_transaction_is_reported_as_well() -> None:
    held = HeldBack()
    held.look(0, {P: (3, 5)})
    assert held.look(10, {P: (3, 5)}) == [P]
    held.look(11, {P: (8, 9)})
    assert held.look(21, {P: (8, 9)}) == [P]
