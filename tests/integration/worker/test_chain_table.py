"""The table of chains: for people, right after a restart, and never in the way of events."""

from __future__ import annotations

import json
import urllib.error
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import Worker, faust_command
from tests.support.deployment import Deployment
from tests.support.events import CHAIN, Night
from tests.support.flow import check_all_written

pytestmark = pytest.mark.kafka

#: Updates of one chain.
MANY = 50

FAULTS = str(Path(__file__).parents[2] / "support" / "faults")


@pytest.fixture
def deployment(kafka: Cluster, topic_name: str, tmp_path: Path) -> Deployment:
    return Deployment(kafka, topic_name, tmp_path)


def changelog(deployment: Deployment) -> str:
    return f"{deployment.group}-chains-changelog"


def events_of(worker: Worker, chain: str) -> int:
    """Return how many events the table counts in a chain."""
    try:
        page = json.loads(worker.page(f"/table/chains/{quote(chain, safe='')}/"))
    except urllib.error.HTTPError:
        return 0
    return sum(int(run["events"]) for run in page["runs"])


def wait_for_events(worker: Worker, chain: str, number: int) -> None:
    wait_until(
        lambda: events_of(worker, chain) == number,
        40,
        lambda: f"{number} events in the table; it has {events_of(worker, chain)}",
    )


def write(deployment: Deployment, *events: dict[str, Any]) -> None:
    for event in events:  # each in a window of its own
        deployment.send(event)
        deployment.wait_done()


def test_events_do_not_wait_for_the_table(deployment: Deployment) -> None:
    """Faust gives partitions to the agents only when it has recovered its tables."""
    deployment.cluster.create_topic(changelog(deployment))
    deployment.cluster.produce(changelog(deployment), b'{"chain":"c","runs":[]}', key=b'"c"')
    event = Night(deployment.root).event(1)
    with deployment.worker(PYTHONPATH=FAULTS, LOSE_CHANGES="1") as worker:
        worker.wait_ready()
        write(deployment, event)
    check_all_written(deployment, [event])


BAD_RECORDS: list[tuple[bytes, bytes | None]] = [
    (b"no JSON", b"{}"),
    (b"no JSON", None),
    (b"[]", None),
    (b'"bad value"', b"no JSON"),
    (b'"bad shape"', b"[]"),
    (b'"no runs"', b'{"chain":"no runs","runs":null}'),
    (b'"no numbers"', b'{"chain":"x","runs":[{"run":"r","first_write":[],"last_write":1e300}]}'),
    (b'"large"', b'{"chain":"large","runs":"' + b"x" * 900_000 + b'"}'),
    (b'"deep"', b"[" * 100_000),
]

BAD_UPDATES = [
    b"no JSON",
    b"17",
    b'{"chain":"c","runs":"abc"}',
    b'{"chain":"c","run":"r","datasets":1,"events":1,"batch_id":"b","written_at":1e300}',
    b'{"chain":"c","run":"r","datasets":1e400,"events":1,"batch_id":"b","written_at":1}',
]


def test_bad_records_stop_neither_the_table_nor_the_writing(deployment: Deployment) -> None:
    """They are there when a worker starts, and come while it runs."""
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(2)]
    updates = f"{deployment.topic}-chain-updates"
    for topic in (changelog(deployment), updates):
        deployment.cluster.create_topic(topic)

    def send_bad() -> None:
        for key, value in BAD_RECORDS:
            deployment.cluster.produce(changelog(deployment), value, key=key)
        for update in BAD_UPDATES:
            deployment.cluster.produce(updates, update)

    send_bad()
    with deployment.worker() as worker:
        worker.wait_ready()
        write(deployment, events[0])
        wait_for_events(worker, CHAIN, 1)
        send_bad()
        write(deployment, events[1])
        wait_for_events(worker, CHAIN, 2)
        (chain,) = json.loads(worker.page("/api/v1/chains"))["chains"]
        assert (chain["chain"], chain["events"]) == (CHAIN, 2)
        metrics = worker.page("/metrics")
        skipped = len({key for key, _ in BAD_RECORDS})  # the last one of each key counts
        assert f"skipped_chain_records_total {skipped:.1f}" in metrics
        assert f"skipped_chain_updates_total {2 * len(BAD_UPDATES):.1f}" in metrics
        # One whose shape is right, and whose content is not.
        forged = {"chain": CHAIN, "runs": [{**RUN_STATE, "run": "forged"}]}
        deployment.cluster.produce(updates, json.dumps(forged).encode(), key=CHAIN.encode())
        wait_for_events(worker, CHAIN, RUN_STATE["events"])
        done = faust_command(deployment.environment, "chains", "resync")
        assert done.returncode == 0, done.stderr
        wait_until(
            lambda: "forged" not in worker.page("/api/v1/chains"), 40, "the table is rebuilt"
        )
    check_all_written(deployment, events)


RUN_STATE: dict[str, Any] = {
    "run": "r",
    "first_write": 1.0,
    "last_write": 1.0,
    "datasets": 1,
    "events": 99,
}


def test_the_table_is_complete_after_a_restart(deployment: Deployment) -> None:
    """The changelog also has records that are none, and is not written for each update."""
    night = Night(deployment.root)
    events = [night.event(1, detector) for detector in range(2)]
    with deployment.worker() as worker:
        worker.wait_ready()
        write(deployment, events[0])
        (update,) = deployment.cluster.consume(f"{deployment.topic}-chain-updates")
        chain = str(json.loads(update.value or b"")["chain"])
        for _ in range(MANY - 1):  # as if other workers had written
            deployment.cluster.produce(f"{deployment.topic}-chain-updates", update.value)
        wait_for_events(worker, chain, MANY)
        assert deployment.cluster.end_offsets(changelog(deployment))[0] < MANY / 2
        worker.term()
        assert worker.wait() == 0
    for key, value in ((b"no JSON", b"{}"), (b'"c"', b"no JSON"), (b'"d"', b"[]")):
        deployment.cluster.produce(changelog(deployment), value, key=key)
    with deployment.worker() as worker:
        worker.wait_ready()
        wait_for_events(worker, chain, MANY)
        write(deployment, events[1])
        wait_for_events(worker, chain, MANY + 1)
    check_all_written(deployment, events)
