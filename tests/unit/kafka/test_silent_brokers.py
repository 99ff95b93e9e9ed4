"""Brokers that accept connections and never answer."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from app.butler.descriptions import describe
from app.kafka import availability
from app.kafka.availability import BrokerProbe
from app.kafka.checks import access_rights
from app.kafka.checks.access import kafka_error
from app.kafka.checks.access_rights import connect
from app.kafka.connection import KafkaConnection
from app.settings import KafkaSettings


def listening(stack: ExitStack) -> str:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    return f"127.0.0.1:{server.getsockname()[1]}"


async def test_frozen_brokers_are_named_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "_TIMEOUT", 0.1)
    monkeypatch.setattr(access_rights, "_CONNECT_SECONDS", 0.1)
    with ExitStack() as stack:
        brokers = (listening(stack), listening(stack))
        connection = KafkaConnection(",".join(brokers), brokers, "butler-writer")

        with pytest.raises(OSError, match="no answer") as asked:
            await BrokerProbe(connection, KafkaSettings()).ask()
        assert describe(asked.value) == f"no answer of {connection.cluster} within 0.1 s"

        with pytest.raises(OSError, match=r".*") as at_start:
            await connect(connection)
        reason = str(kafka_error(connection, at_start.value))
        assert reason.startswith(f"Kafka at {connection.cluster}: TimeoutError; check KAFKA_CLUS")
