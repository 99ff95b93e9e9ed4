"""A log that goes back behind what was committed and read, or that has been made again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from testbed.kafka import ApacheKafka
from tests.acceptance.laboratory import Laboratory
from tests.acceptance.pods import digest

#: What a worker reports if a log does not hold its offset.
ALARM = "the log does not hold the offset that was read or committed"


@pytest.fixture
def laboratory(
    make_laboratory: Callable[..., Laboratory], private_kafka: ApacheKafka
) -> Laboratory:
    """A laboratory with its own broker."""
    return make_laboratory(kafka=private_kafka)


def cut_back(laboratory: Laboratory, kafka: ApacheKafka) -> None:
    """Let partition 0 lose the messages since its log was saved; the other one keeps all."""
    topic = laboratory.deployment.topic
    before = laboratory.deployment.cluster.consume(topic)
    kafka.stop()
    kafka.restore_log(topic, 0)
    kafka.start()
    kept = {(m.partition, m.offset) for m in laboratory.deployment.cluster.consume(topic)}
    lost = [m for m in before if (m.partition, m.offset) not in kept]
    laboratory.pods.dropped += [digest(message.value) for message in lost]
    assert len(lost) == 20, "the log of one partition went back"


@pytest.mark.slow
@pytest.mark.parametrize("running", [True, False], ids=["under a worker", "while no worker runs"])
def test_the_log_goes_back_from_50_to_30(
    laboratory: Laboratory, private_kafka: ApacheKafka, running: bool
) -> None:
    """A broker that was restored from a backup; the group's offsets are not older."""
    (worker,) = laboratory.start()
    laboratory.pods.send(60)
    laboratory.deployment.wait_done()
    private_kafka.save_log(laboratory.deployment.topic)
    laboratory.pods.send(40)
    laboratory.deployment.wait_done()
    if running:
        cut_back(laboratory, private_kafka)
    else:
        worker.term()
        assert worker.wait(30) == 0
        cut_back(laboratory, private_kafka)
        laboratory.restart(worker)
    laboratory.pods.send(2 * 35)
    laboratory.reconcile(alarm=ALARM)
