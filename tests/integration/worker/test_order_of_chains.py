"""The chains of downstream repositories have the order of the source's, whenever a run comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsst.daf.butler import MissingCollectionError

from testbed.cluster import Cluster
from testbed.tables import check_same
from testbed.waiting import wait_until
from tests.integration.worker.test_embargo import END, HOUR, Clock, with_rules
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream, log_events
from tests.support.events import CHAIN, Night

#: In the order in which they come into the source's chain; their messages are in both partitions.
RUNS = [f"{CHAIN}/{letter}" for letter in "abcde"]

RULES = f"""
- runs: ["{RUNS[1]}", "{RUNS[3]}"]
  embargo_hours: {{hours}}
- runs: ["{RUNS[2]}"]
  exclude: true
- dataset_types: ["*"]
  embargo_hours: 0
"""


def children(downstream: Downstream) -> list[str]:
    try:
        return list(downstream.butler().collections.get_info(CHAIN).children)
    except MissingCollectionError:
        return []


@pytest.mark.slow
def test_a_run_that_is_released_late_is_between_those_that_were_there(
    broker: Cluster, topic_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through two hops, with several workers that are killed, and a third target that is late."""
    monkeypatch.setattr("tests.integration.worker.test_embargo.RULES", RULES)
    source = Deployment(broker, topic_name, tmp_path, partitions=2)
    windows = [[Night(source.root, run).event(1, 0)] for run in RUNS]
    log_events(source, *windows)
    clock = Clock(tmp_path / "clock")
    clock.set(END + 60)
    hop = f"{topic_name}-hop"
    first = Downstream(
        source,
        tmp_path / "first",
        settings={"BUTLER_WRITER_PRODUCTS_TOPIC": f"{hop}-products", "BUTLER_WRITER_LANES": "2"},
    )
    with_rules(first, clock, hours=80)
    second = Downstream(
        source,
        tmp_path / "second",
        settings={"KAFKA_TOPIC": hop, "BUTLER_WRITER_SOURCE_ROOT": str(first.root)},
    )
    at_first, at_last = [RUNS[4], RUNS[0]], [RUNS[4], RUNS[3], RUNS[1], RUNS[0]]
    with first.worker() as one, first.worker() as other:
        first.wait_done(120)
        wait_until(lambda: children(first) == at_first, 30, one.log_text)
        one.process.kill()
        clock.set(END + 80 * HOUR)
        with second.worker() as follower:
            wait_until(lambda: sorted(children(first)) == sorted(at_last), 60, other.log_text)
            wait_until(lambda: sorted(children(second)) == sorted(at_last), 60, follower.log_text)
            wait_until(
                lambda: second.tables()["dataset"] == first.tables()["dataset"],
                30,
                follower.log_text,
            )
    assert children(first) == children(second) == at_last
    found, expected = second.tables(), first.tables()
    check_same(found, expected)
