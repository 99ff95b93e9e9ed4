"""Each run is prepended to its chain once, and known pairs cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import permutations
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy
from lsst.daf.butler import Butler, CollectionType

from app.butler.failures import RetryableError
from app.butler.policy import WritePolicy
from app.butler.private.chain_rows import ChainRows
from app.butler.private.registry import engine_of
from app.butler.repository.chains import ChainKeeper, Position
from models.causes import Cause
from tests.support.events import CHAIN, RUN
from tests.support.repositories import Repository
from tests.support.statements import statements


@pytest.fixture
def butler(repository: Repository) -> Butler:
    """A Butler for the keeper; the runs are registered."""
    butler = repository.butler()
    for number in range(4):
        butler.collections.register(f"{RUN}{number}")
    return butler


def children(repository: Repository, chain: str = CHAIN) -> list[str]:
    """Return the numbers of the runs in a chain, as another Butler sees it."""
    repository.reader.registry.refresh()
    info = repository.reader.collections.get_info(chain)
    return [child.removeprefix(RUN) for child in info.children]


def pairs(*numbers: int, chain: str = CHAIN) -> list[tuple[str, str]]:
    return [(chain, f"{RUN}{number}") for number in numbers]


def test_a_new_chain_is_registered(repository: Repository, butler: Butler) -> None:
    assert ChainKeeper(butler).ensure(pairs(0)) == {}
    assert repository.butler().collections.get_info(CHAIN).type is CollectionType.CHAINED
    assert children(repository) == ["0"]


def test_the_newest_run_is_first(repository: Repository, butler: Butler) -> None:
    keeper = ChainKeeper(butler)
    keeper.ensure(pairs(0, 1))
    keeper.ensure(pairs(2))
    assert children(repository) == ["2", "1", "0"]


def test_a_run_may_be_in_several_chains(repository: Repository, butler: Butler) -> None:
    ChainKeeper(butler).ensure(pairs(0) + pairs(0, 1, chain="another"))
    assert children(repository) == ["0"]
    assert children(repository, "another") == ["1", "0"]


def test_a_known_pair_executes_no_statement(butler: Butler) -> None:
    keeper = ChainKeeper(butler)
    keeper.ensure(pairs(0, 1))
    with statements() as executed:
        assert keeper.ensure(pairs(1, 0, 1)) == {}
    assert executed == []


def test_a_run_that_is_in_the_chain_is_not_moved(repository: Repository, butler: Butler) -> None:
    ChainKeeper(butler).ensure(pairs(0, 1, 2))
    restarted = ChainKeeper(repository.butler())
    with statements() as executed:
        restarted.ensure(pairs(0, 1))
    assert children(repository) == ["2", "1", "0"]
    assert not [line for line in executed if line.startswith(("INSERT", "UPDATE", "DELETE"))]


def test_a_new_run_costs_the_same_whatever_is_in_its_chain(
    postgresql_repository: Repository,
) -> None:
    """Otherwise each window of a night with many runs is slower than the one before."""
    butler = postgresql_repository.butler()
    others = [f"{RUN}other{number}" for number in range(50)]
    for run in (f"{RUN}0", f"{RUN}1", *others):
        butler.collections.register(run)
    ChainKeeper(butler).ensure(pairs(0))
    butler.collections.extend_chain(CHAIN, others)
    rows: list[int] = []

    def count_rows(_connection: object, cursor: Any, *_: object) -> None:
        rows.append(cursor.rowcount)

    engine = engine_of(butler)
    sqlalchemy.event.listen(engine, "after_cursor_execute", count_rows)
    try:
        ChainKeeper(butler).ensure(pairs(1))
    finally:
        sqlalchemy.event.remove(engine, "after_cursor_execute", count_rows)
    assert children(postgresql_repository)[:2] == ["1", "0"]
    assert sum(rows) < len(others)


def test_changes_that_others_made_to_the_chain_are_kept(
    repository: Repository, butler: Butler
) -> None:
    keeper = ChainKeeper(butler)
    keeper.ensure(pairs(0))
    repository.butler().collections.prepend_chain(CHAIN, f"{RUN}3")
    keeper.ensure(pairs(1))
    assert children(repository) == ["1", "3", "0"]


def test_a_name_of_another_collection_is_refused_and_other_pairs_are_done(
    repository: Repository, butler: Butler
) -> None:
    keeper = ChainKeeper(butler)
    (bad,) = pairs(0, chain=f"{RUN}3")
    for _ in range(2):
        refused = keeper.ensure([*pairs(0), bad, *pairs(1)])
        assert refused.keys() == {bad}
        assert f"{RUN}3" in refused[bad].reason
        assert refused[bad].reason.startswith("written, but")
    assert children(repository) == ["1", "0"]


def test_a_run_that_is_not_registered_is_refused(repository: Repository, butler: Butler) -> None:
    (missing,) = pairs(9)
    refused = ChainKeeper(butler).ensure([missing, *pairs(0)])
    assert refused.keys() == {missing}
    assert children(repository) == ["0"]


def test_a_chain_in_itself_is_refused(repository: Repository, butler: Butler) -> None:
    keeper = ChainKeeper(butler)
    keeper.ensure(pairs(0))
    outer, inner = ("outer", CHAIN), (CHAIN, "outer")
    refused = keeper.ensure([outer, inner])
    assert refused.keys() == {inner}
    assert children(repository) == ["0"]


@pytest.mark.parametrize("table", ["collection_chain", "collection"])
def test_nothing_is_refused_while_the_database_is_at_fault(
    repository: Repository, butler: Butler, table: str
) -> None:
    keeper = ChainKeeper(butler)
    keeper.ensure(pairs(3))
    repository.sql(f"ALTER TABLE {table} RENAME TO away")
    with pytest.raises(RetryableError) as raised:
        keeper.ensure(pairs(0))
    assert raised.value.alarm
    repository.sql(f"ALTER TABLE away RENAME TO {table}")
    assert keeper.ensure(pairs(0)) == {}
    assert children(repository) == ["0", "3"]


@pytest.mark.postgresql
def test_a_name_that_is_too_long_is_refused_and_other_pairs_are_done(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    for run in (f"{RUN}0", f"{RUN}1"):
        repository.reader.collections.register(run)
    keeper = ChainKeeper(repository.butler())
    (bad,) = pairs(0, chain="".join(f"{n * n * 7919:x}" for n in range(1000)))
    assert keeper.ensure([bad]).keys() == {bad}
    refused = keeper.ensure([*pairs(0), bad, *pairs(1)])
    assert refused.keys() == {bad}
    assert refused[bad].cause is Cause.VALUE_REFUSED
    assert len(refused[bad].reason) < 1000
    assert children(repository) == ["1", "0"]
    assert repository.sql("SELECT count(*) FROM collection") == [3]


@contextmanager
def locked(repository: Repository, chain: str) -> Iterator[None]:
    """Hold a lock on the row of a chain."""
    engine = engine_of(repository.reader)
    with engine.connect() as rival, rival.begin():
        lock = "SELECT 1 FROM collection WHERE name = :name FOR UPDATE"
        rival.execute(sqlalchemy.text(lock), {"name": chain})
        yield


@pytest.mark.postgresql
def test_a_chain_that_somebody_locks_holds_up_no_other(postgresql_repository: Repository) -> None:
    repository = postgresql_repository
    butler = repository.butler()
    for number in range(3):
        butler.collections.register(f"{RUN}{number}")
    butler.collections.register("busy", CollectionType.CHAINED)
    keeper = ChainKeeper(butler)
    held_up: dict[tuple[str, str], str] = {}
    busy = pairs(0, 1, chain="busy")
    with locked(repository, "busy"):
        assert keeper.ensure([*busy, *pairs(2)], held_up) == {}
        assert list(held_up) == busy
        assert (
            "'busy' cannot be changed: canceling statement due to lock timeout" in held_up[busy[0]]
        )
        assert children(repository) == ["2"]
    held_up.clear()
    assert keeper.ensure(busy, held_up) == {}
    assert not held_up
    assert children(repository, "busy") == ["1", "0"]


@pytest.mark.postgresql
def test_no_chain_is_held_up_apart_while_none_can_be_changed(
    postgresql_repository: Repository,
) -> None:
    repository = postgresql_repository
    butler = repository.butler(WritePolicy(lock_timeout=1.0))
    butler.collections.register(f"{RUN}0")
    engine = engine_of(repository.reader)
    with engine.connect() as rival, rival.begin():
        rival.execute(sqlalchemy.text("LOCK TABLE collection_chain IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(RetryableError):
            ChainKeeper(butler).ensure(pairs(0), {})


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_run_that_someone_unlinked_is_prepended_again_within_a_minute(
    repository: Repository, butler: Butler, clock: Clock
) -> None:
    keeper = ChainKeeper(butler, clock)
    keeper.ensure(pairs(0, 1))
    repository.butler().collections.redefine_chain(CHAIN, [f"{RUN}3"])
    keeper.ensure(pairs(1))
    assert children(repository) == ["3"]  # not yet
    clock.now += 60
    assert keeper.ensure(pairs(1)) == {}
    assert children(repository) == ["1", "0", "3"]


@pytest.mark.postgresql
def test_a_chain_that_cannot_be_restored_holds_up_no_other(
    postgresql_repository: Repository, clock: Clock
) -> None:
    repository = postgresql_repository
    butler = repository.butler(WritePolicy(lock_timeout=1.0))
    for number in range(3):
        butler.collections.register(f"{RUN}{number}")
    keeper = ChainKeeper(butler, clock)
    keeper.ensure(pairs(0, chain="busy"))
    repository.butler().collections.redefine_chain("busy", [])
    clock.now += 60
    with locked(repository, "busy"):
        assert keeper.ensure(pairs(1)) == {}
        assert children(repository) == ["1"]
        with pytest.raises(RetryableError):
            keeper.ensure(pairs(2, chain="busy"))
    clock.now += 60
    assert keeper.ensure(pairs(1)) == {}
    assert children(repository, "busy") == ["0"]


def test_a_chain_that_someone_removed_is_registered_again_within_a_minute(
    repository: Repository, butler: Butler, clock: Clock
) -> None:
    keeper = ChainKeeper(butler, clock)
    keeper.ensure(pairs(0))
    repository.butler().collections.x_remove(CHAIN)
    clock.now += 60
    assert keeper.ensure(pairs(1)) == {}
    assert children(repository) == ["1", "0"]


def test_a_run_that_someone_removed_is_not_missed(
    repository: Repository, butler: Butler, clock: Clock
) -> None:
    keeper = ChainKeeper(butler, clock)
    keeper.ensure(pairs(0, 1))
    other = repository.butler()
    other.collections.remove_from_chain(CHAIN, f"{RUN}0")
    other.collections.x_remove(f"{RUN}0")
    clock.now += 60
    assert keeper.ensure(pairs(2)) == {}
    assert children(repository) == ["2", "1"]


def test_a_run_that_had_no_events_for_a_minute_may_be_unlinked(
    repository: Repository, butler: Butler, clock: Clock
) -> None:
    keeper = ChainKeeper(butler, clock)
    keeper.ensure(pairs(0, 1))
    for _ in range(2):
        clock.now += 60
        keeper.ensure(pairs(1))
    repository.butler().collections.remove_from_chain(CHAIN, f"{RUN}0")
    clock.now += 60
    keeper.ensure(pairs(1))
    assert children(repository) == ["1"]


def test_one_look_a_minute_costs_a_few_statements(butler: Butler, clock: Clock) -> None:
    keeper = ChainKeeper(butler, clock)
    keeper.ensure(pairs(0))
    clock.now += 60
    with statements() as executed:
        keeper.ensure(pairs(0))
    assert 1 <= len(executed) <= 8
    with statements() as executed:
        keeper.ensure(pairs(0))
    assert executed == []


@pytest.mark.postgresql
def test_concurrent_keepers_prepend_each_run_once(postgresql_repository: Repository) -> None:
    repository = postgresql_repository
    runs = [f"{RUN}{number}" for number in range(6)]
    for run in runs:
        repository.reader.collections.register(run)
    keepers = [ChainKeeper(repository.butler()) for _ in range(3)]
    together = Barrier(len(keepers))

    def ensure(keeper: ChainKeeper) -> None:
        for run in runs:
            together.wait(timeout=30)
            assert keeper.ensure([(CHAIN, run)]) == {}

    with ThreadPoolExecutor(len(keepers)) as pool:
        for done in [pool.submit(ensure, keeper) for keeper in keepers]:
            done.result()
    assert children(repository) == ["5", "4", "3", "2", "1", "0"]
    # One that is prepended again would have another position, which others may know already.
    rows = ChainRows(repository.butler())
    assert [rows.position(CHAIN, run) for run in runs] == [-1, -2, -3, -4, -5, -6]


#: Where the source has the runs 0 to 3, the last one first; another run was removed from it.
SOURCE = {
    pair: Position(number, moves=True)
    for pair, number in zip(pairs(0, 1, 2, 3), (-1, -2, -4, -5), strict=True)
}


def test_runs_that_come_in_any_order_are_in_that_of_their_positions(
    repository: Repository, butler: Butler
) -> None:
    for number, order in enumerate(permutations(SOURCE)):
        chain = f"{CHAIN}/{number}"
        for _, run in order:
            position = SOURCE[CHAIN, run]
            assert ChainKeeper(butler).ensure([(chain, run)], None, {(chain, run): position}) == {}
        assert children(repository, chain) == ["3", "2", "1", "0"]


def test_a_run_at_another_position_is_moved_only_on_request(
    repository: Repository, butler: Butler
) -> None:
    ChainKeeper(butler).ensure(pairs(3, 0, 2, 1))
    for pair, position in SOURCE.items():
        ChainKeeper(butler).ensure([pair], None, {pair: position._replace(moves=False)})
    assert children(repository) == ["1", "2", "0", "3"]
    keeper = ChainKeeper(butler)
    keeper.ensure(SOURCE)
    keeper.ensure(SOURCE, None, SOURCE)
    assert children(repository) == ["3", "2", "1", "0"]
    with statements() as executed:
        keeper.ensure(SOURCE, None, SOURCE)
    assert executed == []


def test_a_run_of_somebody_else_makes_room(repository: Repository, butler: Butler) -> None:
    butler.collections.register(f"{RUN}own")
    ChainKeeper(butler).ensure([(CHAIN, f"{RUN}own")])
    for pair, position in SOURCE.items():
        ChainKeeper(butler).ensure([pair], None, {pair: position})
    found = children(repository)
    assert sorted(found) == ["0", "1", "2", "3", "own"]
    found.remove("own")
    assert found == ["3", "2", "1", "0"]


def test_a_run_that_was_removed_comes_back_to_its_position(
    repository: Repository, butler: Butler
) -> None:
    clock = iter([0.0] * 3 + [100.0] * 20)
    keeper = ChainKeeper(butler, clock.__next__)
    keeper.ensure(SOURCE, None, SOURCE)
    repository.butler().collections.remove_from_chain(CHAIN, f"{RUN}1")
    keeper.ensure(pairs(3))
    assert children(repository) == ["3", "2", "1", "0"]


def test_only_a_run_has_a_position(repository: Repository, butler: Butler) -> None:
    butler.collections.register("outer", CollectionType.CHAINED)
    given = [(CHAIN, "outer"), (CHAIN, "missing"), (f"{RUN}1", f"{RUN}0"), *pairs(0)]
    refused = ChainKeeper(butler).ensure(given, None, dict.fromkeys(given, Position(-1)))
    causes = {pair: rejection.cause for pair, rejection in refused.items()}
    assert causes == {
        (CHAIN, "outer"): Cause.WRONG_COLLECTION,
        (CHAIN, "missing"): Cause.REFUSED_BY_BUTLER,
        (f"{RUN}1", f"{RUN}0"): Cause.WRONG_COLLECTION,
    }
    assert children(repository) == ["0"]


@pytest.mark.postgresql
def test_concurrent_keepers_put_runs_into_their_places(postgresql_repository: Repository) -> None:
    repository = postgresql_repository
    runs = [f"{RUN}{number}" for number in range(6)]
    for run in runs:
        repository.reader.collections.register(run)
    keepers = [ChainKeeper(repository.butler()) for _ in range(3)]
    together = Barrier(len(keepers))

    def ensure(number: int) -> None:
        together.wait(timeout=30)
        for at in range(len(runs)):
            place = (number + at * (1, 5, 1)[number]) % len(runs)
            pair = CHAIN, runs[place]
            where = {pair: Position(-1 - place, moves=True)}
            assert keepers[number].ensure([pair], None, where) == {}

    with ThreadPoolExecutor(len(keepers)) as pool:
        for done in [pool.submit(ensure, number) for number in range(len(keepers))]:
            done.result()
    assert children(repository) == ["5", "4", "3", "2", "1", "0"]
