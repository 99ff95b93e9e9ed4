"""The durability rules that are settings of Faust."""

from __future__ import annotations

from typing import cast

import faust
import pytest

from agents import chains, collect, flush
from app import app, tables, topics
from app.parts import PartsNotOpenError
from app.settings import MIB

BOUND = app.settings.kafka.max_message_bytes


def test_no_table_is_windowed() -> None:
    """Windows hold the data; tables are for people."""
    assert list(app.tables.values()) == [tables.chains]
    assert type(tables.chains) is faust.Table


def test_faust_decodes_nothing() -> None:
    """What a codec of Faust's raises over is committed."""
    for topic in cast("list[faust.Topic]", [topics.events, topics.chain_updates]):
        assert (topic.key_serializer, topic.value_serializer) == ("raw", "raw")
        assert (topic.key_type, topic.value_type) == (bytes, bytes)


async def test_an_exception_that_leaves_an_agent_all_the_same_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Faust would start the agent again, and what it held would never be acked."""
    exit_codes: list[int] = []
    monkeypatch.setattr("os._exit", exit_codes.append)
    agent = cast("faust.Agent", flush.flush)
    assert agent._on_error is not None
    await agent._on_error(agent, ZeroDivisionError())
    assert exit_codes == [1]


def test_a_rebalance_waits_for_no_event() -> None:
    assert not app.conf.stream_wait_empty


def test_the_channel_to_the_sink_is_unbounded_and_fausts_queues_are_small() -> None:
    assert app.window_closed.maxsize == 0
    assert app.conf.stream_buffer_maxsize == 64
    assert app.conf.broker_max_poll_records == 64
    assert app.conf.consumer_max_fetch_size == BOUND + MIB


def test_the_parts_are_asked_for_before_the_worker_has_opened_them() -> None:
    with pytest.raises(PartsNotOpenError, match="has not opened its repository"):
        _ = app.parts


def test_every_replica_has_a_message_in_bounded_time_also_a_large_dead_letter() -> None:
    assert app.conf.producer_acks == -1
    assert app.conf.producer_request_timeout == 20.0
    assert app.conf.producer_max_request_size == BOUND + MIB
    assert not app.conf.stream_publish_on_commit


def test_no_worker_leaves_the_group_for_being_idle_or_slow() -> None:
    week = 7 * 24 * 3600.0
    assert app.conf.broker_max_poll_interval == week
    assert app.conf.stream_processing_timeout == week
    assert app.conf.broker_commit_livelock_soft_timeout == week


def test_a_swap_continues_where_the_deployed_service_has_stopped() -> None:
    assert app.conf.id == "butler-writer"
    assert app.conf.version == 1
    assert app.conf.consumer_auto_offset_reset == "earliest"


def test_no_worker_leads_and_no_table_has_a_copy() -> None:
    assert app.conf.topic_disable_leader
    assert app.conf.table_standby_replicas == 0


@pytest.mark.parametrize("agent", [collect.collect, flush.flush, chains.chains])
def test_an_agent_is_one_task(agent: faust.Agent) -> None:
    """Order of arrival is order of writing."""
    assert agent.concurrency == 1
