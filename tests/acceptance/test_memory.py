"""Memory: a backlog in a pod of 1 GiB, with the production settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from testbed.control_groups import ControlGroup, memory_group
from tests.acceptance.laboratory import FAIL_POINTS, Laboratory
from tests.support.events import Night
from tests.support.memory import MIB, resident

MakeLaboratory = Callable[..., Laboratory]

POD = 1024 * MIB

#: The production settings, as far as they determine the memory.
PRODUCTION = {"BUTLER_WRITER_WINDOW_SECONDS": "1", "BUTLER_WRITER_KAFKA_COMMIT_INTERVAL": "1"}

#: The largest events have some ten thousand dimension records: more than are accepted by default.
MANY_RECORDS = {
    "BUTLER_WRITER_MAX_DIMENSION_RECORDS": "100000",
    "BUTLER_WRITER_MAX_JSON_VALUES": "1000000",
}

#: Dimension records of these elements make an event as large as it is to be.
BULK = ("group", "exposure")

#: Size of an event's datasets and of its own dimension records, in bytes.
OWN_BYTES = 7_000

#: Between such numbers of events the resident size hardly grows.  (With 18,000 events it grows by
#: 12 % after the first 500, our measurement.)
STEADY = [(500, 5_500), (2_500, 18_000)]

#: The same for four lanes: it takes longer until all have had a large window at once.  18,000
#: events took 249 MiB after 500, 267 after 2,000, 294 after 4,000, 313 after 9,000, 316 at the end.
STEADY_WITH_FOUR_LANES = [(4_000, 18_000)]


@pytest.fixture
def pod() -> Iterator[ControlGroup | None]:
    """The control group of a pod; `None` if this machine does not allow one."""
    with memory_group(POD) as group:
        yield group


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    ("events", "size", "partitions"),
    [
        pytest.param(6_000, 125_000, 1, id="6000 events of 125 kB on 1 partition"),
        pytest.param(6_000, 125_000, 6, id="6000 events of 125 kB on 6 partitions"),
        pytest.param(6_000, 125_000, 64, id="6000 events of 125 kB on 64 partitions"),
        # After an outage of an hour at 5 events/s: many small objects, made in every thread.
        pytest.param(18_000, OWN_BYTES, 1, id="18000 events of 7 kB on 1 partition"),
    ],
)
def test_a_backlog_in_1_gib(
    pod: ControlGroup | None,
    make_laboratory: MakeLaboratory,
    events: int,
    size: int,
    partitions: int,
) -> None:
    """The memory hardly grows after the first events."""
    laboratory = make_laboratory(partitions=partitions, settings=dict(PRODUCTION))
    send_events(laboratory, events, size)
    sizes = drain(laboratory, pod)
    for start, end in STEADY if laboratory.lanes <= 2 else STEADY_WITH_FOUR_LANES:
        assert highest(sizes, end) < 1.1 * highest(sizes, start)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_backlog_of_125_kb_events_and_a_slow_database_in_1_gib(
    pod: ControlGroup | None, make_laboratory: MakeLaboratory
) -> None:
    """Each write takes 2 s longer; more waits than a worker may hold."""
    laboratory = make_laboratory(partitions=64, settings=dict(PRODUCTION))
    send_events(laboratory, 2_000, 125_000)
    slow = {"FAIL_POINT": "slow-database", "SLOW_SECONDS": "2"}
    drain(laboratory, pod, PYTHONPATH=str(FAIL_POINTS), **slow)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_backlog_of_the_largest_events_in_1_gib(
    pod: ControlGroup | None, make_laboratory: MakeLaboratory
) -> None:
    laboratory = make_laboratory(partitions=6, settings=PRODUCTION | MANY_RECORDS)
    send_events(laboratory, 40, 10_400_000)
    drain(laboratory, pod)


def highest(sizes: list[tuple[int, int]], events: int) -> int:
    """Return the highest resident size until a number of events are finished, or all are.

    Sizes go up and down with the messages that are held, so only the highest can be compared.
    """
    found = 0
    for finished, rss in sizes:
        found = max(found, rss)
        if events <= finished < sizes[-1][0]:
            break
    return found


def send_events(laboratory: Laboratory, events: int, size: int) -> None:
    """Send events of about a size in bytes; large ones consist mostly of dimension records."""
    records = bulk(laboratory.pods.night, size - OWN_BYTES)
    laboratory.pods.prepare = lambda event: event["dimension_records"].extend(records)
    laboratory.pods.send(events)


def bulk(night: Night, size: int) -> list[dict[str, Any]]:
    """Return dimension records that no dataset refers to, of a size in bytes."""
    first = 10**9
    templates = [
        record.to_simple().model_dump_json()
        for record in night.visit_records(first, 0)
        if record.definition.name in BULK
    ]
    visits = range(first, first + size // sum(map(len, templates)))
    return [
        orjson.loads(template.replace(str(first), str(visit)))
        for visit in visits
        for template in templates
    ]


def drain(
    laboratory: Laboratory, pod: ControlGroup | None, **environment: str
) -> list[tuple[int, int]]:
    """Let a worker in a pod write everything, and reconcile it.

    Returns
    -------
    sizes : `list` [`tuple` [`int`, `int`]]
        Again and again, how many events were finished, and the worker's resident size in bytes;
        also for some seconds after everything was written.
    """
    sizes: list[tuple[int, int]] = []
    deployment = laboratory.deployment
    events = sum(deployment.cluster.end_offsets(deployment.topic).values())
    (worker,) = laboratory.start(group=pod, **environment)
    end = None
    while end is None or time.monotonic() < end:
        finished = deployment.committed()
        sizes.append((finished, resident(worker)))
        if finished >= events and end is None:
            end = time.monotonic() + 10
        time.sleep(0.2)
    assert laboratory.reconcile(10).peak_rss * MIB < POD
    return sizes
