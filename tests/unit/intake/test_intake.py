"""Ledger and windows together: in no order of operations is an unwritten event acked.

Rules acked-in-offset-order, no-gaps-in-offsets, rebalance-starts-a-new-epoch, bounded-memory.
"""

from __future__ import annotations

from dataclasses import replace
from math import floor

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.intake.intake import Intake
from app.intake.ledger import Receipt
from app.intake.windows import Window, WindowBounds

PARTITIONS = [("pp-output", 0), ("pp-output", 1), ("pp-output", 2)]
Position = tuple[tuple[str, int], int]
BOUNDS = WindowBounds(seconds=1.0, events=4, bytes=400)


def every_second(now: float) -> float:
    return floor(now) + 1.0


def intake(max_bytes_held: int = 1000) -> Intake[Position]:
    made: Intake[Position] = Intake(BOUNDS, max_bytes_held, every_second)
    made.start_at(dict.fromkeys(PARTITIONS, 0))
    return made


def take(target: Intake[Position], offset: int, size: int = 100) -> list[Window[Position]]:
    receipt, entry = target.receive(PARTITIONS[0], offset, size, list)
    assert receipt is Receipt.EXPECTED
    assert entry is not None
    return target.add(entry, (PARTITIONS[0], offset), now=0.5)


def test_at_the_bound_on_bytes_the_open_window_closes_at_once() -> None:
    target = intake(max_bytes_held=250)
    assert take(target, 0) == []
    assert take(target, 1) == []
    assert target.has_room
    (window,) = take(target, 2)
    assert not target.has_room
    target.settle(window)
    assert target.has_room


def test_at_the_bound_on_events_the_open_window_closes_at_once() -> None:
    """With one lane, a full window is written and another one waits: 8 events."""
    target = intake()
    for offset in range(3):
        assert take(target, offset, size=1) == []
    (first,) = target.close()
    closed = [window for offset in range(3, 7) for window in take(target, offset, size=1)]
    assert [len(window.arrivals) for window in closed] == [4]
    assert target.has_room
    (last,) = take(target, 7, size=1)
    assert len(last.arrivals) == 1
    assert not target.has_room
    target.settle(first)
    assert target.has_room


def test_postponed_events_leave_room_for_as_many_others() -> None:
    target = intake()
    (first, second) = [window for offset in range(8) for window in take(target, offset, size=1)]
    assert not target.has_room
    target.postpone(first, [(first.arrivals, 0, True)], due=10.0)
    target.postpone(second, [(second.arrivals, 0, True)], due=10.0)
    assert target.events == 0
    assert target.has_room


def test_an_event_larger_than_the_bound_is_taken_alone() -> None:
    target = intake(max_bytes_held=250)
    assert target.has_room
    (window,) = take(target, 0, size=10_000)
    assert not target.has_room
    target.settle(window)
    assert target.has_room


def test_settling_a_window_of_a_revoked_epoch_acks_nothing() -> None:
    target = intake()
    take(target, 0)
    (window,) = target.close()
    target.revoke()
    assert target.is_empty
    assert not target.is_current(window)
    assert len(target.settle(window)) == 0


def test_postponed_events_are_flushed_later_in_windows_of_their_own() -> None:
    target = intake()
    for offset in range(3):
        take(target, offset)
    target.close()
    window = target.take()
    assert window is not None
    slow, other, third = window.arrivals
    rest = target.postpone(window, [([slow], 1, True), ([other], 0, True)], due=5.0)
    assert rest.arrivals == [third]
    assert len(target.settle(rest)) == 0, "acked although an event before it is not settled"
    assert target.is_empty, "postponed events delay the shutdown"
    assert target.postponed == 2
    assert target.ledger.bytes_held == 200
    assert target.put_back(4.9) == []
    assert [w.arrivals for w in target.put_back(5.0)] == [[slow]]
    assert target.put_back(5.0) == [], "one at a time"
    take(target, 3)
    target.close()
    first, second = target.take(), target.take()
    assert first is not None
    assert second is not None
    assert (first.arrivals, first.is_apart, first.confirmed) == ([slow], True, 1)
    assert not second.is_apart, "joined with a postponed window"
    assert len(target.settle(first)) == 1
    (last,) = target.put_back(5.0)
    assert len(target.settle(last)) == 2
    target.revoke()
    assert target.postponed == 0


def test_postponed_events_leave_room_for_others_up_to_twice_the_bound() -> None:
    target = intake(max_bytes_held=250)
    for offset in range(5):
        assert target.has_room
        take(target, offset)
        target.close()
        while (window := target.take()) is not None:
            target.postpone(window, [(window.arrivals, 0, True)], due=5.0)
    assert target.ledger.bytes_held == 500
    assert not target.has_room
    (window,) = target.put_back(5.0)
    target.settle(window)
    target.put_back(5.0)
    assert not target.has_room, "one is in flight"


def test_postponed_events_that_have_not_failed_come_before_those_that_have() -> None:
    target = intake()
    for offset in range(3):
        take(target, offset)
    target.close()
    window = target.take()
    assert window is not None
    failing, again, waiting = ([arrival] for arrival in window.arrivals)
    target.postpone(window, [(failing, 0, True), (again, 0, True), (waiting, 0, False)], due=5.0)
    order = []
    while found := target.put_back(5.0):
        order += [arrival.payload for arrival in found[0].arrivals]
        target.take()
        target.settle(found[0])
    assert [offset for _, offset in order] == [2, 0, 1]


def test_windows_that_wait_for_the_sink_are_joined_up_to_the_bounds() -> None:
    target = intake()
    for offset in range(6):
        take(target, offset, size=100 if offset < 5 else 300)
        if offset % 2:
            target.close()
    first, second = target.take(), target.take()
    assert first is not None
    assert second is not None
    assert [arrival.payload[1] for arrival in first.arrivals] == [0, 1, 2, 3]
    assert [arrival.payload[1] for arrival in second.arrivals] == [4, 5]
    assert target.take() is None
    assert target.in_flight == {first, second}
    assert len(target.settle(first)) == 4
    assert len(target.settle(second)) == 2
    assert target.is_empty


def test_windows_that_wait_are_shared_between_the_lanes() -> None:
    target: Intake[Position] = Intake(
        replace(BOUNDS, events=100, bytes=800, lanes=2), 10_000, every_second
    )
    target.start_at(dict.fromkeys(PARTITIONS, 0))
    for offset in range(6):
        take(target, offset)
    taken = []
    while window := target.take():
        taken.append([arrival.payload[1] for arrival in window.arrivals])
    assert taken == [[0, 1, 2], [3], [4], [5]], "a lane takes half of what waits, at least a window"


def test_a_lane_takes_all_that_waits_up_to_a_portion() -> None:
    target: Intake[Position] = Intake(
        replace(BOUNDS, events=100, bytes=1600, lanes=2), 10_000, every_second
    )
    target.start_at(dict.fromkeys(PARTITIONS, 0))
    for offset in range(5):
        take(target, offset, size=60)
        target.close()
    taken = []
    while window := target.take():
        taken.append([arrival.payload[1] for arrival in window.arrivals])
    assert taken == [[0, 1, 2], [3, 4]]


def test_revoked_windows_are_not_taken() -> None:
    target = intake()
    take(target, 0)
    target.close()
    target.revoke()
    assert target.take() is None


def test_after_a_jump_no_event_is_taken_until_reading_restarts() -> None:
    target = intake()
    take(target, 0)
    assert target.receive(PARTITIONS[0], 5, 100, list)[0] is Receipt.JUMPED
    assert target.receive(PARTITIONS[0], 6, 100, list)[0] is Receipt.NOT_STARTED
    assert target.is_empty


class Interleavings(RuleBasedStateMachine):
    """A broker, a sink and an intake, with operations in any order.

    The model knows, for each partition, the log's end, what Kafka has committed (that is, what was
    acked), where the consumer reads, and which offsets were ever written into the Butler.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.intake: Intake[Position] = Intake(replace(BOUNDS, lanes=2), 1200, every_second)
        self.end = dict.fromkeys(PARTITIONS, 0)
        self.committed = dict.fromkeys(PARTITIONS, 0)
        self.position = dict.fromkeys(PARTITIONS, 0)
        self.absent: set[Position] = set()
        self.written: set[Position] = set()
        self.taken: Window[Position] | None = None
        self.rereading = False
        self.reset: set[tuple[str, int]] = set()
        self.intake.start_at(self.committed)

    def acked(self, position: Position) -> None:
        partition, offset = position
        assert position in self.written, "acked an event that is not written"
        below = {(partition, o) for o in range(self.committed[partition], offset)}
        assert below <= self.absent, "acked out of order, or past an event"
        assert offset >= self.committed[partition], "acked twice"
        self.committed[partition] = offset + 1

    @rule(partition=st.sampled_from(PARTITIONS), count=st.integers(1, 6))
    def produce(self, partition: tuple[str, int], count: int) -> None:
        self.end[partition] += count

    @rule(partition=st.sampled_from(PARTITIONS))
    def produce_a_transaction_marker(self, partition: tuple[str, int]) -> None:
        self.absent.add((partition, self.end[partition]))
        self.end[partition] += 1

    def fetch(self, partition: tuple[str, int]) -> int | None:
        """Fetch the next event of a partition, or only the markers before its end."""
        start = offset = self.position[partition]
        while (partition, offset) in self.absent:
            offset += 1
        has_event = offset < self.end[partition]
        self.position[partition] = offset + has_event
        self.intake.ledger.fetches.note(
            partition, start, [offset] if has_event else [], offset + has_event
        )
        return offset if has_event else None

    @rule(partition=st.sampled_from(PARTITIONS))
    def lose_a_fetched_event(self, partition: tuple[str, int]) -> None:
        """Lose an event as Faust's recovery can: it clears a queue that holds fetched events."""
        self.fetch(partition)

    @rule(partition=st.sampled_from(PARTITIONS), back=st.integers(1, 8), more=st.integers(0, 8))
    def cut_the_log_back(self, partition: tuple[str, int], back: int, more: int) -> None:
        """The log loses its newest events, and perhaps gets new ones at the same offsets."""
        end = max(0, self.end[partition] - back)
        if self.position[partition] <= end:
            return  # nobody can notice, and nothing that was read is affected
        self.absent = {(p, o) for p, o in self.absent if p != partition or o < end}
        self.written = {(p, o) for p, o in self.written if p != partition}
        self.end[partition] = end + more
        self.position[partition] = 0
        self.intake.ledger.fetches.note_reset(partition)
        self.reset.add(partition)

    @precondition(lambda self: self.reset and not self.rereading)
    @rule()
    def look_for_resets(self) -> None:
        if self.intake.drop_reset():
            self.taken = None
            self.rereading = True

    @rule()
    def commit_past_markers(self) -> None:
        for partition, offset in self.intake.ledger.pass_over_gaps().items():
            below = {(partition, o) for o in range(self.committed[partition], offset)}
            assert below <= self.absent, "committed past an event"
            self.committed[partition] = offset

    @rule(partition=st.sampled_from(PARTITIONS), size=st.sampled_from([1, 100, 500]))
    def deliver(self, partition: tuple[str, int], size: int) -> None:
        if self.intake.has_room and (offset := self.fetch(partition)) is not None:
            self.hand_over(partition, offset, size)

    @rule(partition=st.sampled_from(PARTITIONS), back=st.integers(1, 5))
    def redeliver(self, partition: tuple[str, int], back: int) -> None:
        offset = self.position[partition] - back
        if offset >= 0 and (partition, offset) not in self.absent:
            self.hand_over(partition, offset, 100)

    def hand_over(self, partition: tuple[str, int], offset: int, size: int) -> None:
        position = (partition, offset)
        receipt, entry = self.intake.receive(partition, offset, size, lambda: self.acked(position))
        if receipt is Receipt.JUMPED:
            self.taken = None
            self.rereading = True
        if entry is not None:
            self.intake.add(entry, position, self.now)

    @precondition(lambda self: self.rereading)
    @rule()
    def read_again(self) -> None:
        self.rereading = False
        self.committed.update(dict.fromkeys(self.reset, 0))
        self.position = dict(self.committed)
        self.intake.start_at(self.committed, self.reset)
        self.reset = set()

    @precondition(lambda self: not self.rereading)
    @rule()
    def look_for_a_lost_tail(self) -> None:
        if self.intake.misses_tail():
            self.taken = None
            self.rereading = True

    @rule(seconds=st.floats(0.01, 1.5))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.intake.close_due(self.now)

    @rule(fails=st.booleans(), writes_first=st.booleans())
    def flush(self, fails: bool, writes_first: bool) -> None:
        """Flush the next window; the sink keeps a window that failed, written or not."""
        self.taken = self.taken or self.intake.take()
        if self.taken is None:
            return
        if not fails or writes_first:
            self.written |= {arrival.payload for arrival in self.taken.arrivals}
        if not fails:
            self.intake.settle(self.taken)
            self.taken = None

    @rule(data=st.data())
    def rebalance(self, data: st.DataObject) -> None:
        """Revoke and assign all partitions; a flush that was running may still end."""
        self.intake.revoke()
        if data.draw(st.booleans()) and self.taken is not None:
            self.written |= {arrival.payload for arrival in self.taken.arrivals}
            assert self.intake.settle(self.taken) == []
        self.taken = None
        self.read_again()

    @invariant()
    def bytes_held_are_those_of_the_unsettled_entries(self) -> None:
        windows = [*self.intake.in_flight]
        if self.intake.windows.open is not None:
            windows.append(self.intake.windows.open)
        assert self.intake.ledger.bytes_held == sum(window.bytes for window in windows)

    @invariant()
    def the_window_that_the_sink_has_taken_is_in_flight(self) -> None:
        assert self.taken is None or self.taken in self.intake.in_flight

    def teardown(self) -> None:
        """Check that everything is written and acked once no further fault happens."""
        for _ in range(50):
            self.look_for_resets()
            if self.rereading:
                self.read_again()
            for partition in PARTITIONS:
                for _ in range(20):
                    if not self.rereading:
                        self.deliver(partition, 1)
            self.time_passes(1.5)
            while self.intake.in_flight:
                self.flush(fails=False, writes_first=True)
            if not self.rereading:
                self.look_for_a_lost_tail()
                self.commit_past_markers()
        for partition in PARTITIONS:
            left = {
                (partition, offset)
                for offset in range(self.committed[partition], self.end[partition])
            }
            assert not left, "left an event unacked, or a marker uncommitted, for ever"


Interleavings.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestInterleavings = Interleavings.TestCase
