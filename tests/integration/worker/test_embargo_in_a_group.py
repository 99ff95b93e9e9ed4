"""The embargo holds while workers share the log, and when messages come again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from app.butler.private.registry import engine_of
from models.product import Products
from testbed.cluster import Cluster
from testbed.tables import check_same, tables_of
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.integration.worker.test_embargo import (
    END,
    EVENING,
    HOUR,
    RELEASED,
    RELEASED_AT_ONCE,
    Clock,
    ids,
    metrics,
    stored,
    with_rules,
)
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream, log_events, selected
from tests.support.events import CHAIN, Night
from tests.support.product_import import import_products

#: Their messages are in both partitions of the log.
RUNS = [f"{CHAIN}/{letter}" for letter in "bcde"]

DUE = END + 80 * HOUR


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    clock = Clock(tmp_path / "clock")
    clock.set(EVENING)
    return clock


def check_on_time(
    downstream: Downstream, clock: Clock, worker: Worker, before: set[str], after: set[str]
) -> None:
    """Check that nothing is released before its time, and everything after it."""
    clock.set(DUE - 3)
    while clock.now() < DUE - 0.5:
        assert stored(downstream) == before
    wait_until(lambda: stored(downstream) != before, 120, worker.log_text)
    assert clock.now() >= DUE
    wait_until(lambda: stored(downstream) == after, 120, worker.log_text)
    wait_until(lambda: metrics(worker)["waiting_messages"] == 0, 60, worker.log_text)


def check_tables(downstream: Downstream, messages: list[Products], folder: Path) -> None:
    """Check that a target has what the Butler's public names write of the same messages."""
    Butler.makeRepo(str(folder))
    with Butler.from_config(str(folder), writeable=True) as expected:
        import_products(expected, selected(messages, *RELEASED), downstream.source.root)
        found, same = downstream.tables(), tables_of(engine_of(expected))
    for tables in (found, same):  # the positions are those of the log
        tables["collection_chain"] = []
    check_same(found, same)


def both_read(one: Worker, two: Worker) -> bool:
    return len(one.partitions()) == len(two.partitions()) == 1


def takes_over(worker: Worker, messages: int) -> Callable[[], bool]:
    """Return whether a worker reads both partitions, and knows all that waits."""
    return lambda: (
        len(worker.partitions()) == 2 and metrics(worker).get("waiting_messages") == messages
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_waits_is_taken_over_by_the_worker_that_is_left(
    kafka: Cluster, topic_name: str, tmp_path: Path, clock: Clock, is_killed: bool
) -> None:
    """The other one is stopped; or frozen until it is put out of the group, and one killed."""
    source = Deployment(kafka, topic_name, tmp_path)
    windows = [[Night(source.root, run).event(1, d) for d in range(2)] for run in RUNS]
    log_events(source)  # nothing: it makes the topic
    downstream = Downstream(source, tmp_path / "public")
    with_rules(downstream, clock, hours=80)
    released = f"{topic_name}-released"
    downstream.settings["BUTLER_WRITER_PRODUCTS_TOPIC"] = released
    with ExitStack() as stack:
        one, two = (stack.enter_context(downstream.worker()) for _ in range(2))
        wait_until(lambda: both_read(one, two), 240, one.log_text)
        messages = log_events(source, *windows)
        at_once, all_of_it = (
            ids(selected(messages, *types)) for types in (RELEASED_AT_ONCE, RELEASED)
        )
        assert all(kafka.end_offsets(downstream.log).values())
        downstream.wait_done(180)
        assert stored(downstream) == at_once
        if is_killed:
            one.stop_process()
            wait_until(takes_over(two, len(messages)), 120, two.log_text)
            one.continue_process()
            wait_until(lambda: both_read(one, two), 120, one.log_text)
            two.process.kill()
            left = one
        else:
            one.term()
            assert one.wait(120) == 0
            left = two
        wait_until(takes_over(left, len(messages)), 120, left.log_text)
        assert stored(downstream) == at_once
        check_on_time(downstream, clock, left, at_once, all_of_it)
    logged = [Products.decode(message.value) for message in kafka.consume(released)]
    times = Counter(i for each in logged for file in each.datasets for i in file["refs"])
    assert times == dict.fromkeys(all_of_it, 1)
    assert downstream.dead_letters() == []
    check_tables(downstream, messages, tmp_path / "expected")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_is_killed_while_it_releases_is_followed_by_another(
    kafka: Cluster, topic_name: str, tmp_path: Path, clock: Clock
) -> None:
    source = Deployment(kafka, topic_name, tmp_path)
    windows = [
        [Night(source.root, run).event(visit, d) for d in range(2)]
        for visit in range(1, 11)
        for run in RUNS
    ]
    messages = log_events(source, *windows)
    assert all(kafka.end_offsets(source.product_topic).values())
    downstream = Downstream(source, tmp_path / "public")
    with_rules(downstream, clock, hours=80)
    downstream.settings |= {"BUTLER_WRITER_WINDOW_EVENTS": "1", "BUTLER_WRITER_LANES": "1"}
    at_once, all_of_it = (ids(selected(messages, *types)) for types in (RELEASED_AT_ONCE, RELEASED))
    with downstream.worker() as one, downstream.worker() as two:
        wait_until(lambda: both_read(one, two), 240, one.log_text)
        downstream.wait_done(240)
        assert stored(downstream) == at_once
        clock.set(DUE - 1)
        wait_until(lambda: stored(downstream) != at_once, 120, two.log_text, interval=0.01)
        one.process.kill()
        assert clock.now() >= DUE
        assert at_once < stored(downstream) < all_of_it
        wait_until(lambda: stored(downstream) == all_of_it, 180, two.log_text)
        wait_until(takes_over(two, 0), 120, two.log_text)
    assert downstream.dead_letters() == []
    check_tables(downstream, messages, tmp_path / "expected")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("by_worker", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_messages_that_come_again_release_nothing_early_and_nothing_twice(
    broker: Cluster, topic_name: str, tmp_path: Path, clock: Clock, by_worker: bool
) -> None:
    """They are logged and read again while a part waits, and read again when all is released."""
    source = Deployment(broker, topic_name, tmp_path)
    windows = [[Night(source.root).event(visit, d) for d in range(2)] for visit in (1, 2)]
    downstream = Downstream(source, tmp_path / "public")
    with_rules(downstream, clock, hours=80)

    def log_all() -> None:
        if not by_worker:
            log_events(source, *windows)
            return
        source.commit(0)
        with source.worker() as writer:
            source.wait_done(180)
            writer.term()
            assert writer.wait(120) == 0

    def set_back(worker: Worker) -> None:
        worker.term()
        assert worker.wait(120) == 0
        broker.commit(downstream.group, downstream.log, 0)
        assert downstream.committed() == 0
        worker.start()
        downstream.wait_done(180)

    source.send(*(event for window in windows for event in window))
    log_all()
    messages = source.products()
    at_once, all_of_it = (ids(selected(messages, *types)) for types in (RELEASED_AT_ONCE, RELEASED))
    with downstream.worker() as worker:
        downstream.wait_done(180)
        assert stored(downstream) == at_once
        log_all()
        set_back(worker)
        assert stored(downstream) == at_once
        # A message that was logged again waits beside the first one.
        logged = len(source.products())
        assert logged > len(messages)
        wait_until(lambda: metrics(worker)["waiting_messages"] == logged, 60, worker.log_text)
        check_on_time(downstream, clock, worker, at_once, all_of_it)
        if by_worker:
            tables = downstream.tables()
            set_back(worker)
            wait_until(lambda: metrics(worker)["waiting_messages"] == 0, 60, worker.log_text)
            check_same(downstream.tables(), tables)
    assert downstream.dead_letters() == []
    check_tables(downstream, messages, tmp_path / "expected")
