"""Brokers that are restarted or unavailable."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from testbed.kafka import ApacheKafka
from tests.acceptance.laboratory import Laboratory
from tests.support.access_rules import LOGIN, grant


@pytest.fixture
def laboratory(
    make_laboratory: Callable[..., Laboratory], private_kafka: ApacheKafka
) -> Laboratory:
    """A laboratory with its own broker."""
    # After 60 such intervals without a commit, the watchdog ends a worker.
    settings = {"BUTLER_WRITER_KAFKA_COMMIT_INTERVAL": "0.2"}
    return make_laboratory(kafka=private_kafka, settings=settings)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_broker_is_restarted(laboratory: Laboratory, private_kafka: ApacheKafka) -> None:
    laboratory.start(2)
    with laboratory.pods.load():
        for _ in range(2):
            laboratory.wait_finished(50)
            private_kafka.restart()
        laboratory.wait_finished(50)
    laboratory.reconcile(240)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_broker_is_killed_and_unavailable_for_30_s(
    laboratory: Laboratory, private_kafka: ApacheKafka
) -> None:
    """The watchdog ends no worker: a restart would not bring the broker back."""
    laboratory.start(2)
    with laboratory.pods.load():
        laboratory.wait_finished(50)
        private_kafka.kill()
        time.sleep(30)
        private_kafka.start()
        laboratory.wait_finished(50)
    laboratory.reconcile(240)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_password_for_kafka_is_changed(
    make_laboratory: Callable[..., Laboratory], private_secure_kafka: ApacheKafka
) -> None:
    """The brokers refuse it after a restart; the worker ends, to be started with the new one."""
    laboratory = make_laboratory(kafka=private_secure_kafka, settings=dict(LOGIN))
    grant(private_secure_kafka, laboratory.deployment, optional=True)
    (worker,) = laboratory.start()
    with laboratory.pods.load():
        laboratory.wait_finished(50)
        private_secure_kafka.change_password("writer", "new-secret")
        private_secure_kafka.restart()
        laboratory.wait_not_ready(worker)
        assert worker.wait(120) == 1
        laboratory.deployment.settings["KAFKA_PASSWORD"] = "new-secret"
        laboratory.start()
        laboratory.wait_finished(50)
    laboratory.reconcile(240, alarm="a login is refused, ending the worker")
