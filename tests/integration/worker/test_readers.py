"""Whoever reads a downstream repository while it is filled gets no error."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from testbed.cluster import Cluster
from testbed.waiting import wait_until
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream, log_events
from tests.support.events import CHAIN, Night, dataset_ids
from tests.support.reader import Reader


@pytest.mark.postgresql
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("transfer", "is_killed"),
    [
        ("copy", False),
        pytest.param("copy", True, marks=pytest.mark.slow),
        pytest.param("direct", True, marks=pytest.mark.slow),
    ],
)
def test_readers_can_read_every_dataset_that_they_find(
    broker: Cluster,
    topic_name: str,
    tmp_path: Path,
    postgresql_url: str,
    transfer: str,
    is_killed: bool,
) -> None:
    source = Deployment(broker, topic_name, tmp_path, partitions=2)
    night = Night(source.root)
    windows = [[night.event(visit, d) for d in range(2)] for visit in range(1, 13)]
    events = [event for window in windows for event in window]
    half = len(windows) // 2
    log_events(source, *windows[:half])
    settings = {"BUTLER_WRITER_TRANSFER": transfer, "BUTLER_WRITER_WINDOW_EVENTS": "1"}
    downstream = Downstream(source, tmp_path / "public", postgresql_url, settings)
    # A Butler that is opened for writing makes the table of datastore records; one that was opened
    # before finds no file.
    Butler.from_config(str(downstream.root), writeable=True).close()
    with Reader(downstream.root, CHAIN, tmp_path) as reader, downstream.worker() as worker:
        reader.wait_for_looks(1)
        wait_until(lambda: reader.looks()[-1]["found"] > 0, 180, worker.log_text)
        if is_killed:
            worker.process.kill()
            worker.start()
        log_events(source, *windows[half:])
        downstream.wait_done(240)
        looks = reader.end()
    assert [error for look in looks for error in look["errors"]] == []
    found = [look["found"] for look in looks]
    everything = len(dataset_ids(*events))
    assert found[0] == 0
    assert found[-1] == everything
    assert found == sorted(found)
    assert any(0 < number < everything for number in found), "it has not looked in between"
