"""A worker replaces the deployed service and is replaced by it, in one consumer group.

tests/acceptance/test_swap.py does so under load.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.kafka import ApacheKafka
from testbed.process import ChildProcess
from testbed.worker import faust_command
from tests.support.events import Night, dataset_ids, stored_ids
from tests.support.peer import start_peer, wait_gone, wait_kept_out
from tests.support.strimzi import StrimziDeployment, manifests, trial


@pytest.fixture
def deployment(secure_kafka: ApacheKafka, tmp_path: Path) -> StrimziDeployment:
    """The topics and the user that are deployed, with the one word of trial.yaml."""
    given = manifests("topics.yaml")[:2]
    given[0]["spec"]["partitions"] = 1
    settings = {
        "BUTLER_WRITER_KAFKA_DECLARE_TOPICS": "true",
        "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "6",
    }
    return StrimziDeployment(
        secure_kafka, "butler-writer", tmp_path, settings=settings, given=[*given, trial()]
    )


@pytest.mark.kafka
def test_the_deployed_service_is_replaced_and_comes_back(deployment: StrimziDeployment) -> None:
    night = Night(deployment.root)
    events = [night.event(1 + number // 10, number % 10) for number in range(30)]
    with ExitStack() as stack:

        def start_deployed_service() -> ChildProcess:
            process = start_peer(deployment, seconds=0.5, session=6)
            stack.callback(process.kill)
            return process

        first = start_deployed_service()
        deployment.send(*events[:10])
        deployment.wait_done()
        worker = stack.enter_context(deployment.worker())
        wait_kept_out(deployment, worker)
        first.kill()
        deployment.send(*events[10:20])
        wait_gone(deployment)
        worker.wait_ready()
        deployment.wait_done()

        # It cannot join the worker, which is not disturbed.
        second = start_deployed_service()
        assert second.wait(60) == 1
        assert "Inconsistent group protocol" in second.log_text()
        checked = faust_command(deployment.environment, "check")
        assert checked.returncode == 0, checked.stdout

        worker.term()
        assert worker.wait() == 0
        deployment.send(*events[20:])
        start_deployed_service()
        deployment.wait_done()
    found = Counter(stored_ids(deployment.fresh_butler()))
    assert found == Counter(dataset_ids(*events))
    announced = Counter(deployment.announced_ids())
    assert announced == Counter(map(str, found)), "each of them handles what the other has not"
    assert set(deployment.logged_ids()) == {str(i) for i in dataset_ids(*events[10:20])}
    assert deployment.dead_letters() == []
