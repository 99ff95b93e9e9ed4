"""Which attempts are repeated, and how a window is divided."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import hypothesis.strategies as st
import psycopg
import pytest
from hypothesis import example, given
from sqlalchemy.exc import DBAPIError

from app.butler.commit.division import Counts, DividedWrite, attempt, written_outcome
from app.butler.events.parsed import ParsedEvent
from app.butler.failures import AbandonedError, Failure, RetryableError
from app.butler.outcome import Failed, Rejection, Written
from models.causes import Cause
from models.errors import InvalidEventError


def always() -> bool:
    return True


def failing(*errors: BaseException) -> Callable[[], str]:
    """Return a call that raises one error after another, then returns."""
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call


def postgresql_error(state: str) -> BaseException:
    orig = psycopg.errors.lookup(state)("the server says no")
    return DBAPIError.instance("SELECT", {}, orig, psycopg.Error)


def test_a_race_with_another_writer_is_tried_again() -> None:
    assert attempt(failing(postgresql_error("23505"), postgresql_error("23505")), always) == "done"


def test_a_race_that_is_lost_every_time_rejects_the_event() -> None:
    failed = attempt(failing(*[postgresql_error("23505")] * 3), always)
    assert isinstance(failed, Failed)
    assert failed.rejection == Rejection(Cause.CONSTRAINT, "the server says no")


def test_a_retryable_failure_is_raised_with_its_cause() -> None:
    with pytest.raises(RetryableError, match="OperationalError: the server says no") as raised:
        attempt(failing(postgresql_error("40P01")), always)
    assert not raised.value.alarm
    assert isinstance(raised.value.__cause__, DBAPIError)


def test_an_alarm_is_kept() -> None:
    with pytest.raises(RetryableError) as raised:
        attempt(failing(RetryableError("look at it", alarm=True)), always)
    assert raised.value.alarm


def test_a_permanent_failure_is_returned() -> None:
    failed = attempt(failing(InvalidEventError("no path")), always)
    assert failed == Failed(Rejection(Cause.INVALID_EVENT, "no path"), Failure.REJECT)


def test_an_unknown_failure_is_returned_as_unknown() -> None:
    failed = attempt(failing(ZeroDivisionError("division by zero")), always)
    assert failed == Failed(
        Rejection(Cause.UNKNOWN, "ZeroDivisionError: division by zero"), Failure.UNKNOWN
    )


def test_nothing_is_attempted_once_the_partitions_are_revoked() -> None:
    with pytest.raises(AbandonedError):
        attempt(pytest.fail, lambda: False)


def test_nothing_is_attempted_again_once_the_partitions_are_revoked() -> None:
    current = iter([True, False])
    with pytest.raises(AbandonedError):
        attempt(failing(postgresql_error("23505")), lambda: next(current))


def test_an_interrupt_is_not_a_failure() -> None:
    with pytest.raises(KeyboardInterrupt):
        attempt(failing(KeyboardInterrupt()), always)


class Store:
    """Stands for a Butler: it stores all events of a batch or none.

    Event n is refused while one of ``needs[n]`` is neither stored nor in the same batch; an event
    that needs itself can never be stored.
    """

    def __init__(self, needs: Sequence[frozenset[int]]) -> None:
        self.needs = needs
        self.events = [event(n) for n in range(len(needs))]
        self.stored: set[int] = set()
        self.transactions = 0

    def write(self, batch: Sequence[ParsedEvent]) -> Counts:
        self.transactions += 1
        numbers = {number(e) for e in batch}
        assert not numbers & self.stored, "written twice"
        for n in sorted(numbers):
            if n in self.needs[n] or not self.needs[n] <= self.stored | numbers:
                raise LookupError(f"{n} lacks something")
        self.stored |= numbers
        return Counts(inserted=len(numbers))

    @property
    def possible(self) -> set[int]:
        """The events that can be stored in some order."""
        possible: set[int] = set()
        while more := {n for n, needs in enumerate(self.needs) if needs <= possible} - possible:
            possible |= more
        return possible


def event(n: int) -> ParsedEvent:
    return ParsedEvent({}, [], ((str(n), "run"),))


def number(e: ParsedEvent) -> int:
    return int(e.chains[0][0])


@st.composite
def windows(draw: st.DrawFn) -> list[frozenset[int]]:
    """Draw what each event of a window needs: nothing, other events, or (rarely) itself."""
    order = draw(st.permutations(range(draw(st.integers(0, 12)))))
    needs: dict[int, frozenset[int]] = {}
    for position, n in enumerate(order):
        others = st.frozensets(st.sampled_from(order[: position + 1]), max_size=2)
        needs[n] = draw(st.just(frozenset[int]()) | others)
    return [needs[n] for n in range(len(order))]


@given(windows())
@example([frozenset({1}), frozenset({2}), frozenset(), frozenset({3})])
def test_all_events_that_can_be_written_are_written_whatever_their_order(
    window: list[frozenset[int]],
) -> None:
    store = Store(window)
    write = DividedWrite(store.write, dict(enumerate(store.events)), always)
    write.run()
    assert store.stored == store.possible
    assert write.counts.inserted == len(store.stored)
    outcomes = write.outcomes
    assert list(outcomes) == list(range(len(window)))
    for n, outcome in outcomes.items():
        if n in store.stored:
            assert outcome == written_outcome(store.events[n])
        else:
            assert outcome == Rejection(Cause.MISSING_DIMENSION_RECORD, f"{n} lacks something")


@pytest.mark.parametrize("size", [2, 3, 64, 189, 500])
def test_one_bad_event_costs_a_logarithmic_number_of_transactions(size: int) -> None:
    for bad in {0, 1, size // 2, size - 1}:
        window = [frozenset({n} if n == bad else ()) for n in range(size)]
        store = Store(window)
        DividedWrite(store.write, dict(enumerate(store.events)), always).run()
        assert len(store.stored) == size - 1
        assert store.transactions <= 2 * math.ceil(math.log2(size)) + 2


def test_a_window_without_bad_events_takes_one_transaction() -> None:
    store = Store([frozenset()] * 100)
    DividedWrite(store.write, dict(enumerate(store.events)), always).run()
    assert store.transactions == 1


def test_a_window_without_events_takes_no_transaction() -> None:
    store = Store([])
    write: DividedWrite[int] = DividedWrite(store.write, {}, always)
    write.run()
    assert (store.transactions, write.outcomes) == (0, {})


KNOWN = Failed(Rejection(Cause.INVALID_EVENT, "no path"), Failure.REJECT)
UNKNOWN = Failed(Rejection(Cause.UNKNOWN, "ZeroDivisionError: division by zero"), Failure.UNKNOWN)


def test_outcomes_have_the_keys_of_the_events_in_their_order() -> None:
    store = Store([frozenset(), frozenset({1})])
    window: dict[str, ParsedEvent | Failed] = {
        "second": store.events[0],
        "third": KNOWN,
        "first": store.events[1],
    }
    write = DividedWrite(store.write, window, always)
    write.run()
    assert list(write.outcomes.items()) == [
        ("second", written_outcome(store.events[0])),
        ("third", KNOWN.rejection),
        ("first", Rejection(Cause.MISSING_DIMENSION_RECORD, "1 lacks something")),
    ]


def divide_by_zero(batch: Sequence[ParsedEvent]) -> Counts:
    raise ZeroDivisionError("division by zero")


class Examiner:
    """Stands for the examination: it finds that the events with some numbers are at fault."""

    def __init__(self, *bad: int) -> None:
        self.bad = bad
        self.calls: list[list[int]] = []

    def __call__(self, events: Sequence[ParsedEvent]) -> dict[ParsedEvent, Failed]:
        self.calls.append([number(e) for e in events])
        return {e: UNKNOWN for e in events if number(e) in self.bad}


def refuse_everything(events: Sequence[ParsedEvent]) -> dict[ParsedEvent, Failed]:
    raise RetryableError("the repository takes nothing", alarm=True)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_no_event_is_rejected_and_the_window_is_not_divided_if_the_examination_fails(
    size: int,
) -> None:
    attempts = 0

    def write(batch: Sequence[ParsedEvent]) -> Counts:
        nonlocal attempts
        attempts += 1
        raise ZeroDivisionError("division by zero")

    window = {n: event(n) for n in range(size)}
    with pytest.raises(RetryableError, match="takes nothing"):
        DividedWrite(write, window, always, refuse_everything).run()
    assert attempts == 1


@pytest.mark.parametrize("bad", [(0,), (0, 1), (0, 1, 2, 3), (2,)])
def test_events_that_the_examination_finds_at_fault_are_rejected_and_the_others_written(
    bad: tuple[int, ...],
) -> None:
    batches: list[list[int]] = []

    def write(batch: Sequence[ParsedEvent]) -> Counts:
        if any(number(e) in bad for e in batch):
            raise ZeroDivisionError("division by zero")
        batches.append([number(e) for e in batch])
        return Counts(len(batch))

    examiner = Examiner(*bad)
    divided = DividedWrite(write, {n: event(n) for n in range(4)}, always, examiner)
    divided.run()
    good = [n for n in range(4) if n not in bad]
    assert batches == ([good] if good else [])
    assert examiner.calls == [[0, 1, 2, 3]]
    assert [n for n, o in divided.outcomes.items() if isinstance(o, Written)] == good


def test_a_failure_that_the_examination_does_not_confirm_is_retried() -> None:
    examiner = Examiner()
    with pytest.raises(RetryableError, match="division by zero") as raised:
        DividedWrite(divide_by_zero, {n: event(n) for n in range(4)}, always, examiner).run()
    assert raised.value.alarm
    assert len(examiner.calls) == 1


def test_a_window_that_fails_only_as_a_whole_is_divided() -> None:
    def write(batch: Sequence[ParsedEvent]) -> Counts:
        if len(batch) > 2:
            raise ZeroDivisionError("too much")
        return Counts(len(batch))

    divided = DividedWrite(write, {n: event(n) for n in range(4)}, always, Examiner())
    divided.run()
    assert divided.counts.inserted == 4


def test_events_that_are_written_already_are_not_examined() -> None:
    """The database names the events at fault for one half, and is at a loss for the other."""

    def write(batch: Sequence[ParsedEvent]) -> Counts:
        numbers = {number(e) for e in batch}
        if len(numbers) == 4:
            raise LookupError("something is missing")
        if 3 in numbers:
            raise ZeroDivisionError("division by zero")
        return Counts(len(batch))

    examiner = Examiner(3)
    divided = DividedWrite(write, {n: event(n) for n in range(4)}, always, examiner)
    divided.run()
    assert examiner.calls == [[2, 3]]
    assert [type(outcome) for outcome in divided.outcomes.values()] == [Written] * 3 + [Rejection]


def test_without_an_examination_every_failure_is_the_events_fault() -> None:
    divided = DividedWrite(divide_by_zero, {n: event(n) for n in range(2)}, always)
    divided.run()
    assert list(divided.outcomes.values()) == [UNKNOWN.rejection] * 2
