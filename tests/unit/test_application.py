"""The durability rules that depend on how Faust is configured."""

from __future__ import annotations

from typing import cast

import faust
import pytest

from agents import chains, collect, flush
from app import app, tables, topics
from app.configuration import configuration
from app.kafka.connection import KafkaConnection
from app.parts import PartsNotOpenError
from app.settings import MIB, load_settings

BOUND = app.settings.kafka.max_message_bytes


def test_no_table_is_windowed() -> None:
    """Events are kept in our own windows; the only table is for operators and tools."""
    assert list(app.tables.values()) == [tables.chains]
    assert type(tables.chains) is faust.Table


def test_faust_decodes_nothing() -> None:
    """Faust would commit a message whose codec raises an exception."""
    for topic in cast("list[faust.Topic]", [topics.events, topics.chain_updates]):
        assert (topic.key_serializer, topic.value_serializer) == ("raw", "raw")
        assert (topic.key_type, topic.value_type) == (bytes, bytes)


async def test_an_exception_that_leaves_an_agent_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Faust would restart the agent, and the events that it held would never be acked."""
    exit_codes: list[int] = []
    monkeypatch.setattr("os._exit", exit_codes.append)
    agent = cast("faust.Agent", flush.flush)
    assert agent._on_error is not None
    await agent._on_error(agent, ZeroDivisionError())
    assert exit_codes == [1]


def test_a_rebalance_does_not_wait_for_unacked_events() -> None:
    assert not app.conf.stream_wait_empty


def test_the_channel_to_the_sink_is_unbounded_and_fausts_queues_are_small() -> None:
    assert app.window_closed.maxsize == 0
    assert app.conf.stream_buffer_maxsize == 64
    assert app.conf.broker_max_poll_records == 64
    assert app.conf.consumer_max_fetch_size == BOUND + MIB


def test_accessing_the_parts_before_the_worker_opens_them_is_an_error() -> None:
    with pytest.raises(PartsNotOpenError, match="has not opened its repository"):
        _ = app.parts


def test_sends_wait_for_all_replicas_with_a_time_limit_and_allow_large_dead_letters() -> None:
    assert app.conf.producer_acks == -1
    assert app.conf.producer_request_timeout == 20.0
    assert app.conf.producer_max_request_size == BOUND + MIB
    assert not app.conf.stream_publish_on_commit


def test_no_worker_leaves_the_group_for_being_idle_or_slow() -> None:
    week = 7 * 24 * 3600.0
    assert app.conf.broker_max_poll_interval == week
    assert app.conf.stream_processing_timeout == week
    assert app.conf.broker_commit_livelock_soft_timeout == week


def test_the_group_and_offset_reset_are_those_of_the_deployed_service() -> None:
    assert app.conf.id == "butler-writer"
    assert app.conf.version == 1
    assert app.conf.consumer_auto_offset_reset == "earliest"


def test_no_worker_is_leader_and_no_table_has_a_standby() -> None:
    assert app.conf.topic_disable_leader
    assert app.conf.table_standby_replicas == 0


@pytest.mark.parametrize("agent", [collect.collect, flush.flush, chains.chains])
def test_an_agent_has_one_task(agent: faust.Agent) -> None:
    """Events are written in the order in which they arrive."""
    assert agent.concurrency == 1


@pytest.mark.parametrize(
    ("host", "address"),
    [("", "0.0.0.0"), ("pod-1", "0.0.0.0"), ("10.1.2.3", "0.0.0.0"), ("fd00::1", "::")],
)
def test_the_pages_listen_where_a_pod_is_probed(
    monkeypatch: pytest.MonkeyPatch, host: str, address: str
) -> None:
    """Which is at its address, the one that other workers reach."""
    monkeypatch.setenv("BUTLER_WRITER_WEB_HOST", host)
    settings = load_settings()
    conf = faust.App("any", **configuration(settings, KafkaConnection.of(settings.kafka))).conf
    assert conf.web_bind == address
