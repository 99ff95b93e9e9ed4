"""Senders that use Kafka's transactions."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from tests.acceptance.laboratory import Laboratory


def sender(laboratory: Laboratory, name: str) -> Producer:
    """Return a producer of transactions; it ends the one that its predecessor has left open."""
    producer = Producer(
        {
            **laboratory.deployment.cluster.client_config,
            "transactional.id": f"{laboratory.deployment.topic}-{name}",
            "linger.ms": 0,
        }
    )
    producer.init_transactions(20)
    return producer


@pytest.mark.slow
def test_one_event_a_transaction_some_are_aborted(laboratory: Laboratory) -> None:
    laboratory.start()
    producer = sender(laboratory, "busy")
    for number in range(60):
        laboratory.pods.transaction(producer, number % 2, commit=number % 7 != 0)
        if number % 10 == 0:
            laboratory.pods.send()
    assert laboratory.reconcile(30).redelivered == 0, "no marker causes another reading"


@pytest.mark.slow
def test_a_sender_dies_in_a_transaction(laboratory: Laboratory) -> None:
    """What is behind its first event waits until its successor has aborted the transaction."""
    (worker,) = laboratory.start()
    dying, other = sender(laboratory, "dying"), sender(laboratory, "other")
    with laboratory.pods.load(rate=10):
        laboratory.wait_finished(20)
        laboratory.pods.transaction(dying, 0, commit=None)
        for _ in range(10):
            laboratory.pods.transaction(other, 0, commit=True)
        worker.wait_for_log("left a transaction open", 60)
        sender(laboratory, "dying")
    laboratory.reconcile(30)
