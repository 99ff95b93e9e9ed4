"""Brokers that are restarted, or away."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaException

from tests.acceptance.laboratory import Laboratory
from tests.parts.kafka import ApacheKafka
from tests.parts.waiting import wait_until


@pytest.fixture
def laboratory(
    make_laboratory: Callable[..., Laboratory], private_kafka: ApacheKafka
) -> Laboratory:
    """A laboratory whose broker is its own."""
    return make_laboratory(kafka=private_kafka)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seconds", [0, 30], ids=["restarted", "away for 30 s"])
def test_the_broker_is(laboratory: Laboratory, private_kafka: ApacheKafka, seconds: float) -> None:
    laboratory.start(2)
    laboratory.send(100)
    wait_until(lambda: laboratory.deployment.committed() > 0, 60, "the first events are written")
    private_kafka.kill()
    time.sleep(seconds)
    private_kafka.start()
    wait_until(lambda: group_answers(laboratory), 60, "the group's coordinator is back")
    laboratory.send(100)
    laboratory.make_books(240)


def group_answers(laboratory: Laboratory) -> bool:
    """Tell whether the broker knows the group's offsets again."""
    try:
        return laboratory.deployment.committed() >= 0
    except (TimeoutError, KafkaException):
        return False
