"""A downstream repository is filled from a rebuilt log; what is withdrawn does not come back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.butler.policy import WritePolicy
from app.butler.repository.chains import ChainKeeper
from app.butler.repository.connection import open_butler
from app.butler.writer import ButlerWriter
from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import faust_command
from tests.integration.butler.test_products import write
from tests.integration.downstream.test_rebuilding import ingest
from tests.integration.worker.test_embargo import (
    END,
    HOUR,
    Clock,
    ids,
    metrics,
    stored,
    with_rules,
)
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream, selected
from tests.support.events import CHAIN, RUN, Night

INIT = f"{RUN}/init"


def document(environment: dict[str, str], *arguments: str, exit_code: int = 0) -> Any:
    done = faust_command(environment, "--json", *arguments)
    assert done.returncode == exit_code, f"{arguments}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


@pytest.mark.slow
def test_what_is_withdrawn_does_not_come_back_when_the_log_is_read_again(
    broker: Cluster, topic_name: str, tmp_path: Path
) -> None:
    source = Deployment(broker, topic_name, tmp_path)
    policy = WritePolicy()
    butler = open_butler(str(source.root), policy)
    night = Night(source.root)
    messages = write(ButlerWriter(butler, policy), [night.event(1, n) for n in range(2)])
    ingest(butler, source.root / INIT / "isr_metadata.json", INIT)
    ChainKeeper(butler).ensure([(CHAIN, RUN), (CHAIN, INIT)])
    butler.close()
    broker.create_topic(source.product_topic, 1, **{"max.message.bytes": 11 * 2**20})
    rebuilt = document(source.environment, "products", "rebuild", "--run", CHAIN)
    assert rebuilt["summary"]["datasets"] == 21

    clock = Clock(tmp_path / "clock")
    clock.set(END + 60)
    downstream = Downstream(source, tmp_path / "public")
    with_rules(downstream, clock, hours=80)
    released = ids(selected(messages, "*_metadata", "single_visit_summary"))
    due = ids(selected(messages, "*_log"))
    (gone, *_), (never, *_) = sorted(released), sorted(due)
    withdraw = ["products", "withdraw", gone, never, "--run", "another/run"]
    with downstream.worker() as worker:
        downstream.wait_done()
        assert stored(downstream) == released
        refused = document(downstream.environment, *withdraw, exit_code=2)
        assert "has members" in refused["error"]
        worker.term()
        assert worker.wait() == 0
        assert stored(downstream) == released
        done = document(downstream.environment, *withdraw)
        assert (done["datasets"], done["files"], done["not_removed"]) == (1, 1, [])
        assert stored(downstream) == released - {gone}

        broker.commit(downstream.group, source.product_topic, 0)
        clock.set(END + 80 * HOUR)
        worker.start()
        expected = (released | due) - {gone, never}
        wait_until(lambda: stored(downstream) == expected, 60, worker.log_text)
        downstream.wait_done()
        wait_until(lambda: metrics(worker)["waiting_messages"] == 0, 10, worker.log_text)
        assert stored(downstream) == expected
        assert metrics(worker)["excluded_datasets_totalwithdrawn"] == 2
    paths = {i: f["path"] for m in messages for f in m.datasets for i in f["refs"]}
    assert not any((downstream.root / paths[each]).exists() for each in (gone, never))
    assert downstream.dead_letters() == []
