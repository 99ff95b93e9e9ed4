"""Whether a topic keeps its messages for as long as an embargo needs them."""

from __future__ import annotations

import re

import pytest

from app.kafka.checks.retention import retention_problem
from app.kafka.connection import KafkaConnection
from testbed.cluster import Cluster

HOUR_MS = 3_600_000


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"retention.ms": 81 * HOUR_MS}, None),
        ({"retention.ms": -1}, None),
        (
            {"retention.ms": 80 * HOUR_MS},
            "keeps messages for 80 h, and the longest embargo is 80 h: .* to more than 288000000",
        ),
        ({"retention.ms": -1, "retention.bytes": 10**9}, "set its retention.bytes to -1"),
    ],
)
async def test_a_log_that_is_shorter_than_an_embargo_is_named(
    kafka: Cluster, topic_name: str, config: dict[str, int], problem: str | None
) -> None:
    kafka.create_topic(topic_name, **config)
    connection = KafkaConnection(kafka.bootstrap, (kafka.bootstrap,), "group")
    found = await retention_problem(connection, topic_name, 80)
    assert found is None if problem is None else re.search(problem, found or "")
